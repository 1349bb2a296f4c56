"""What pictures are drawn on, without a screen, and written to: equal numbers as equal bytes."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

# a label may hold a dollar sign
STYLE: Any = {"font.size": 9, "text.parse_math": False}


def canvas(width: float, height: float) -> Figure:
    """Return an empty figure of a size in inches, drawn without a screen."""
    # whatever a user's matplotlibrc says; rcdefaults would look for a screen
    mpl.rcParams.update(mpl.rcParamsDefault)
    mpl.rcParams.update(STYLE)
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def save(pictures: Mapping[str, Figure], folder: Path) -> None:
    """Write each picture as PNG, without the versions and dates that would differ from machine to machine."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, figure in pictures.items():
        figure.savefig(folder / f"{name}.png", dpi=90, metadata={"Software": None})
