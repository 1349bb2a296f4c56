"""Pictures: the same bytes for the same numbers, whatever labels are called."""

from pathlib import Path

import polars as pl
import pytest

from tasks.evaluate.figures import confusion_matrix, learning_curve
from tasks.shared.files import sha256

LOSS = "step,epoch,loss,learning_rate\n10,0.5,2.0,2e-05\n20,1,1.5,1e-05\n"


def draw_matrix(file: Path, labels: list[str]) -> Path:
    predictions = pl.DataFrame({"actual": labels * 3, "predicted": [*labels, *reversed(labels), *labels]})
    confusion_matrix(predictions, labels, file)
    return file


def draw_curve(folder: Path, validation: str) -> Path:
    folder.mkdir()
    (folder / "loss.csv").write_text(LOSS, encoding="utf-8")
    (folder / "validation.csv").write_text(validation, encoding="utf-8")
    learning_curve(folder, folder / "curve.png")
    return folder / "curve.png"


@pytest.mark.parametrize("count", [2, 41])
def test_the_same_predictions_make_the_same_bytes(tmp_path: Path, count: int) -> None:
    labels = [f"label {i}" for i in range(count)]
    one, two = (draw_matrix(tmp_path / f"{name}.png", labels) for name in ("one", "two"))
    assert sha256(one) == sha256(two)
    assert one.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("label", [r"$\nosuch$", "costs $5 or $6_", "reverted_card_payment?", "^", "a\nb", "_hidden"])
def test_a_label_is_drawn_as_it_is_spelled(tmp_path: Path, label: str) -> None:
    assert draw_matrix(tmp_path / "matrix.png", [label, "other"]).exists()


def test_the_curve_shows_the_scores_whichever_column_they_stand_in(tmp_path: Path) -> None:
    by_spelling = draw_curve(tmp_path / "one", "step,epoch,accuracy,loss,macro_f1\n20,1,0.5,1.25,0.33\n")
    loss_first = draw_curve(tmp_path / "two", "step,epoch,loss,accuracy,macro_f1\n20,1,1.25,0.5,0.33\n")
    assert sha256(by_spelling) == sha256(loss_first)
