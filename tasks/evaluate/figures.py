"""The learning curve of any training, drawn."""

from pathlib import Path

import polars as pl
from matplotlib.figure import Figure

from tasks.shared.pictures import canvas

VALIDATION = "validation_"


def learning_curve(curves: Path) -> Figure:
    """Draw the losses on train and validation, and the validation metrics, over the steps."""
    figure = canvas(8, 3)
    left, right = figure.subplots(1, 2)
    for file in sorted(curves.glob("*.csv")):
        name, curve = file.stem.removeprefix(VALIDATION), pl.read_csv(file)
        if file.stem == "train_loss":
            left.plot(curve["step"], curve["loss"], label="train")
        elif name == "loss":
            left.plot(curve["step"], curve["loss"], "o-", label="validation")
        else:
            right.plot(curve["step"], curve[name], "o-", label=name)
    left.set(xlabel="step", ylabel="loss", ylim=(0, 1.05 * left.dataLim.y1))
    right.set(xlabel="step", ylabel="validation")
    for axes in (left, right):
        if axes.lines:
            axes.legend()
    return figure
