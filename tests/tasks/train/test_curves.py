"""The learning curves: a row per log and per evaluation, and no figure of a clock."""

from pathlib import Path

import polars as pl
import pytest

from tasks.shared.files import digests
from tasks.train.curves import evaluations, validation_names, write_curves

HISTORY = [
    {"step": 10, "epoch": 0.5, "loss": 2.123456789012, "learning_rate": 2e-5, "grad_norm": 1.0},
    {"step": 20, "epoch": 1.0, "loss": 1.5, "learning_rate": 1e-5},
    {
        "step": 20,
        "epoch": 1.0,
        "eval_loss": 1.25,
        "eval_accuracy": 0.5,
        "eval_macro_f1": 1 / 3,
        "eval_runtime": 3.21,
        "eval_samples_per_second": 9.9,
    },
    {"step": 20, "epoch": 1.0, "train_loss": 1.8, "train_runtime": 12.3, "total_flos": 1e9},
]


def test_the_curves_have_a_row_per_log_and_per_evaluation(tmp_path: Path) -> None:
    write_curves(HISTORY, tmp_path / "plots")
    found = {file.stem: pl.read_csv(file) for file in (tmp_path / "plots").iterdir()}
    assert found.pop("train_loss").rows(named=True) == [
        {"step": 10, "epoch": 0.5, "learning_rate": 2e-5, "loss": 2.123456789},
        {"step": 20, "epoch": 1.0, "learning_rate": 1e-5, "loss": 1.5},
    ]
    expected = {"loss": 1.25, "accuracy": 0.5, "macro_f1": pytest.approx(1 / 3)}
    for name, value in expected.items():
        curve = found.pop(f"validation_{name}")
        assert curve.rows(named=True) == [{"step": 20, "epoch": 1.0, name: value}]
        assert curve.columns[-1] == name, "where DVC looks for what to draw"
    assert found == {}


def test_evaluations_are_told_as_they_are_kept() -> None:
    assert evaluations(HISTORY) == [{"step": 20, "loss": 1.25, "accuracy": 0.5, "macro_f1": 0.333333}]


def test_no_wall_clock_figure_is_in_the_curves(tmp_path: Path) -> None:
    write_curves(HISTORY, tmp_path / "one")
    faster = [
        {name: 0.1 if "runtime" in name or "per_second" in name else value for name, value in entry.items()}
        for entry in HISTORY
    ]
    write_curves(faster, tmp_path / "two")
    assert digests(tmp_path / "one") == digests(tmp_path / "two")
    assert validation_names(HISTORY[2]) == ["accuracy", "loss", "macro_f1"]


def test_the_columns_of_the_curves_are_the_same_when_a_resumed_log_has_another_order(tmp_path: Path) -> None:
    write_curves(HISTORY, tmp_path / "one")
    write_curves([dict(sorted(entry.items())) for entry in HISTORY], tmp_path / "resumed")
    assert digests(tmp_path / "one") == digests(tmp_path / "resumed")


def test_curves_before_the_first_evaluation_have_their_headers(tmp_path: Path) -> None:
    write_curves([], tmp_path)
    assert (tmp_path / "train_loss.csv").read_text() == "step,epoch,learning_rate,loss\n"
    assert (tmp_path / "validation_loss.csv").read_text() == "step,epoch,loss\n"
    assert sorted(file.name for file in tmp_path.iterdir()) == ["train_loss.csv", "validation_loss.csv"]


def test_a_longer_history_takes_the_place_of_a_shorter(tmp_path: Path) -> None:
    write_curves(HISTORY[:1], tmp_path)
    write_curves(HISTORY, tmp_path)
    assert pl.read_csv(tmp_path / "train_loss.csv").height == 2
