"""Learning curves: what a training has logged, as scores of evaluations and as CSV files."""

from itertools import chain
from pathlib import Path
from typing import Any

from tasks.shared.files import rounded


def validation_names(metrics: dict[str, Any]) -> list[str]:
    """Return the validation scores in a log entry, without the Trainer's wall-clock figures.

    Sorted, as a resumed log is.
    """
    clock = ("runtime", "samples_per_second", "steps_per_second", "model_preparation_time")
    scores = [name for name in sorted(metrics) if name.startswith("eval_") and not name.endswith(clock)]
    return [name.removeprefix("eval_") for name in scores]


def evaluations(history: list[dict[str, Any]]) -> list[dict[str, float]]:
    """Return what a training has scored on validation: for each evaluation its step and its scores.

    Rounded as metrics/train.json has them, so that equal scores are equal to those of other trainings.
    """
    found: list[dict[str, float]] = [
        {"step": entry["step"], **{name: entry[f"eval_{name}"] for name in validation_names(entry)}}
        for entry in history
        if "eval_loss" in entry
    ]
    return [rounded(scores) for scores in found]


def write_curves(history: list[dict[str, Any]], folder: Path) -> None:
    """Write train_loss.csv (a row per logging step) and validation_METRIC.csv (a row per evaluation).

    What the curve is of stands in the last column, where `dvc plots` looks for it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    _write_csv(folder / "train_loss.csv", history, "loss", "learning_rate")
    for name in sorted({"loss", *chain.from_iterable(map(validation_names, history))}):
        _write_csv(folder / f"validation_{name}.csv", history, f"eval_{name}")


def _write_csv(file: Path, history: list[dict[str, Any]], name: str, *more: str) -> None:
    keys = ("step", "epoch", *more, name)
    lines = [",".join(key.removeprefix("eval_") for key in keys)]
    lines += [",".join(f"{entry[key]:.10g}" for key in keys) for entry in history if name in entry]
    part = file.with_suffix(".part")
    part.write_text("\n".join(lines) + "\n", encoding="utf-8")
    part.replace(file)
