"""Pictures: the same bytes for the same numbers, whatever labels are called."""

from itertools import combinations
from pathlib import Path

import matplotlib as mpl
import numpy as np
import polars as pl
import pytest

from tasks.evaluate.figures import learning_curve
from tasks.problems.common.figures import GALLERY, confusion_matrix, galleries, reliability, scatter, spread
from tasks.shared.files import digests
from tasks.shared.pictures import save

LOSS = "step,epoch,learning_rate,loss\n10,0.5,2e-05,2.0\n20,1,1e-05,1.5\n"


def draw_matrix(folder: Path, labels: list[str]) -> dict[str, str]:
    predicted = pl.Series([*labels, *reversed(labels), *labels])
    save({"matrix": confusion_matrix(predicted, pl.Series(labels * 3), labels)}, folder)
    return digests(folder)


@pytest.mark.parametrize("count", [2, 41])
def test_the_same_predictions_make_the_same_bytes(tmp_path: Path, count: int) -> None:
    labels = [f"label {i}" for i in range(count)]
    one, two = (draw_matrix(tmp_path / name, labels) for name in ("one", "two"))
    assert one == two
    assert (tmp_path / "one/matrix.png").read_bytes().startswith(b"\x89PNG")


def test_what_a_user_has_set_for_his_own_pictures_changes_no_byte(tmp_path: Path) -> None:
    settings = {
        "axes.facecolor": "red",
        "font.family": "monospace",
        "savefig.bbox": "tight",
        "image.cmap": "jet",
    }
    plain = draw_matrix(tmp_path / "plain", ["a", "b"])
    with mpl.rc_context(settings):
        assert draw_matrix(tmp_path / "set", ["a", "b"]) == plain


@pytest.mark.parametrize(
    "label", [r"$\nosuch$", "costs $5 or $6_", "reverted_card_payment?", "^", "a\nb", "_hidden"]
)
def test_a_label_is_drawn_as_it_is_spelled(tmp_path: Path, label: str) -> None:
    assert draw_matrix(tmp_path, [label, "other"]).keys() == {"matrix.png"}


def test_of_very_many_labels_the_most_confused_alone_are_drawn() -> None:
    labels = [f"label {number}" for number in range(20_000)]
    actual = pl.Series([*labels, *["label 7"] * 3])
    predicted = pl.Series([*labels, *["label 19999"] * 2, "label 8"])
    (axes,) = confusion_matrix(predicted, actual, labels).axes
    shown = [text.get_text() for text in axes.get_yticklabels()]
    assert shown[:4] == ["label 7", "label 19999", "label 8", "label 0"]
    assert len(shown) == 40
    shares = axes.images[0].get_array()
    assert shares is not None
    assert [round(share, 2) for share in shares[0, :3].tolist()] == [0.25, 0.5, 0.25]
    assert axes.get_title() == ("20000 of 20003 right on test; the 40 labels most often confused, of 20000")


def test_a_gallery_shows_each_file_once_from_all_over_the_rows_with_what_was_said_of_it() -> None:
    count = 4 * GALLERY
    names = [f"{number // 2}.png" for number in range(count)]
    rows = pl.DataFrame({"image": names, "actual": ["a"] * (count // 2) + ["b"] * (count // 2)})
    rows = rows.with_columns(predicted=pl.lit("a"))
    long = rows.head(1).with_columns(asked=pl.lit("what is\nit " * 9), predicted=pl.lit(None, pl.String))
    tables = {"samples": spread(rows), "asked": long, "mistakes": rows.head(0)}
    drawn = galleries(tables, "image", lambda _: np.zeros((4, 4)))
    assert drawn.keys() == {"samples", "asked"}
    said = [axes.get_title() for axes in drawn["samples"].axes]
    assert said == ["a"] * (GALLERY // 2) + ["a\nis b"] * (GALLERY // 2)
    assert drawn["asked"].axes[0].get_title() == "what is it what is it wh…\n\nis a"


@pytest.mark.parametrize("count", [0, 1, GALLERY - 1, GALLERY, 2 * GALLERY - 1, 1000])
def test_rows_of_a_gallery_stand_evenly_from_the_first_to_the_last(count: int) -> None:
    numbers = spread(pl.DataFrame({"row": range(count)}))["row"].to_list()
    assert len(numbers) == min(count, GALLERY)
    assert numbers[:1] + numbers[-1:] == ([0, count - 1] if count else [])
    assert len(set(np.diff(numbers))) <= 2


def test_what_is_said_of_a_picture_covers_neither_its_neighbours_nor_the_next_row() -> None:
    text = "how many red squares are in the picture?"
    rows = pl.DataFrame({"image": [f"{number}.png" for number in range(GALLERY)]})
    rows = rows.with_columns(asked=pl.lit(text), predicted=pl.lit(text), actual=pl.lit(f"{text} two"))
    (drawn,) = galleries({"samples": rows}, "image", lambda _: np.zeros((4, 4))).values()
    drawn.draw_without_rendering()
    boxes = [axes.title.get_window_extent() for axes in drawn.axes]
    boxes += [axes.images[0].get_window_extent() for axes in drawn.axes]
    assert not any(one.overlaps(other) for one, other in combinations(boxes, 2))


def test_other_pictures_are_the_same_bytes_too(tmp_path: Path) -> None:
    numbers = pl.Series([0.1, 0.5, 0.52, 0.9])
    for folder in ("one", "two"):
        pictures = {
            "reliability": reliability(numbers > 0.5, numbers),
            "scatter": scatter(numbers, numbers.reverse()),
        }
        save(pictures, tmp_path / folder)
    assert digests(tmp_path / "one") == digests(tmp_path / "two")


@pytest.mark.parametrize("metrics", [{}, {"mean_absolute_error": 12.5}, {"accuracy": 0.5, "macro_f1": 0.33}])
def test_the_curve_shows_whatever_was_measured_on_validation(
    tmp_path: Path, metrics: dict[str, float]
) -> None:
    (tmp_path / "train_loss.csv").write_text(LOSS, encoding="utf-8")
    for name, value in {"loss": 1.25, **metrics}.items():
        (tmp_path / f"validation_{name}.csv").write_text(
            f"step,epoch,{name}\n20,1,{value}\n", encoding="utf-8"
        )
    left, right = learning_curve(tmp_path).axes
    assert [line.get_label() for line in left.lines] == ["train", "validation"]
    assert [line.get_label() for line in right.lines] == sorted(metrics)
