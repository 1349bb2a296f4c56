"""Pictures of what a model does, the same bytes for the same numbers."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import polars as pl
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

NAMED = 40  # labels whose names still fit beside a matrix
STYLE: Any = {"font.size": 9, "text.parse_math": False}  # a label may hold a dollar sign
NUMBERED = 20  # labels whose cells still fit a number


def confusion_matrix(predictions: pl.DataFrame, labels: Sequence[str], file: Path) -> None:
    """Draw how often each actual label (rows) was predicted as each other (columns), as shares of the row."""
    index = {label: position for position, label in enumerate(labels)}
    counts = np.zeros((len(labels), len(labels)), int)
    np.add.at(counts, ([index[a] for a in predictions["actual"]], [index[p] for p in predictions["predicted"]]), 1)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    size = 4 + 0.35 * min(len(labels), NAMED)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(size, size), layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.add_subplot()
        axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
        if len(labels) <= NAMED:
            axes.set_xticks(range(len(labels)), labels, rotation=90)
            axes.set_yticks(range(len(labels)), labels)
        if len(labels) <= NUMBERED:
            for row, column in zip(*counts.nonzero(), strict=True):
                axes.text(column, row, str(counts[row, column]), ha="center", va="center", color="white" if shares[row, column] > 0.5 else "black")  # noqa: PLR2004
        axes.set(xlabel="predicted", ylabel="actual", title=f"{np.trace(counts)} of {counts.sum()} right on test")
        save(figure, file)


def learning_curve(curves: Path, file: Path) -> None:
    """Draw loss on train and validation, and the validation scores, over the steps, from the CSV files that train writes."""
    loss, validation = pl.read_csv(curves / "loss.csv"), pl.read_csv(curves / "validation.csv")
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(8, 3), layout="constrained")
        FigureCanvasAgg(figure)
        left, right = figure.subplots(1, 2)
        left.plot(loss["step"], loss["loss"], label="train")
        left.plot(validation["step"], validation["loss"], "o-", label="validation")
        left.set(xlabel="step", ylabel="loss (nats)", ylim=(0, 1.05 * left.dataLim.y1))
        left.legend()
        for name in sorted(set(validation.columns) - {"step", "epoch", "loss"}):
            right.plot(validation["step"], validation[name], "o-", label=name)
        right.set(xlabel="step", ylabel="validation score", ylim=(0, 1))
        right.legend()
        save(figure, file)


def save(figure: Figure, file: Path) -> None:
    """Write a PNG without the versions and dates that would differ from machine to machine."""
    figure.savefig(file, dpi=90, metadata={"Software": None})
