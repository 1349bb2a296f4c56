"""Pictures that several problems draw; evaluate writes them."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl
from matplotlib.figure import Figure

from tasks.shared import statistics
from tasks.shared.pictures import canvas

# labels that a matrix is drawn of: its cells are their square
DRAWN = 1000
# labels whose names still fit beside a matrix
NAMED = 40
# labels whose cells still fit a number
NUMBERED = 20
# pictures beside each other
ACROSS = 6
# pictures that a figure shows
GALLERY = 4 * ACROSS
# of a line below a picture
LETTERS = 24
# a share above which a number is white
DARK = 0.5


def confusion_matrix(predicted: pl.Series, actual: pl.Series, labels: Sequence[str]) -> Figure:
    """Draw how often each actual label (rows) was predicted as each other (columns), as shares of the row.

    Of very many labels those alone that are most often taken for others, or others for them.
    """
    title = f"{(predicted == actual).sum()} of {len(actual)} right on test"
    shown = labels
    if len(labels) > DRAWN:
        shown = _most_confused(predicted, actual, labels)
        title = f"{title}; the {len(shown)} labels most often confused, of {len(labels)}"
    counts, rows = _counts(predicted, actual, shown)
    shares = counts / np.maximum(rows[:, None], 1)
    size = 4 + 0.35 * min(len(shown), NAMED)
    figure = canvas(size, size)
    axes = figure.add_subplot()
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    if len(shown) <= NAMED:
        axes.set_xticks(range(len(shown)), shown, rotation=90)
        axes.set_yticks(range(len(shown)), shown)
    if len(shown) <= NUMBERED:
        for row, column in zip(*counts.nonzero(), strict=True):
            color = "white" if shares[row, column] > DARK else "black"
            axes.text(column, row, str(counts[row, column]), ha="center", va="center", color=color)
    axes.set(xlabel="predicted", ylabel="actual", title=title)
    return figure


def _most_confused(predicted: pl.Series, actual: pl.Series, labels: Sequence[str]) -> list[str]:
    """Return the labels of which most mistakes are, then those of most rows."""
    is_wrong = predicted != actual
    mistakes = Counter(predicted.filter(is_wrong)) + Counter(actual.filter(is_wrong))
    rows = Counter(actual)
    return sorted(labels, key=lambda label: (-mistakes[label], -rows[label]))[:NAMED]


def _counts(predicted: pl.Series, actual: pl.Series, shown: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Return how often each label (rows) was predicted as each (columns), and how many rows it has at all."""
    index = {label: position for position, label in enumerate(shown)}
    pairs = zip(actual, predicted, strict=True)
    found = [(index[one], index.get(other, -1)) for one, other in pairs if one in index]
    # labels that are not shown stand together in a last column
    counts = np.zeros((len(shown), len(shown) + 1), int)
    np.add.at(counts, tuple(np.array(found, int).reshape(-1, 2).T), 1)
    return counts[:, :-1], counts.sum(axis=1)


def reliability(correct: pl.Series, confidence: pl.Series) -> Figure:
    """Draw how often predictions of a confidence are right, a dot's area by its share of rows."""
    bins = statistics.reliability(correct, confidence)
    figure = canvas(4, 4)
    axes = figure.add_subplot()
    axes.plot([0, 1], [0, 1], color="gray", linewidth=0.5)
    axes.plot(bins["confidence"], bins["accuracy"])
    axes.scatter(bins["confidence"], bins["accuracy"], s=200 * bins["share"].to_numpy())
    axes.set(
        xlabel="confidence",
        ylabel="accuracy",
        xlim=(0, 1),
        ylim=(0, 1),
        title="Accuracy by confidence on test",
    )
    return figure


def spread(rows: pl.DataFrame) -> pl.DataFrame:
    """Return as many rows as a gallery shows, evenly spaced: the first ones would often be of one label."""
    return rows[np.linspace(0, rows.height - 1, min(GALLERY, rows.height), dtype=int)]


def galleries(
    tables: Mapping[str, pl.DataFrame], column: str, picture: Callable[[str], Any]
) -> dict[str, Figure]:
    """Draw the first files of each table, each of them once; a table without a row is not drawn.

    column: of the files' names, of which `picture` makes what is drawn. Beside it stand predicted, actual
    and, where something is asked about each file, asked.
    """
    drawn = {}
    for name, rows in tables.items():
        its = rows.unique(column, keep="first", maintain_order=True).head(GALLERY)
        if its.height:
            captions = [_caption(row) for row in its.iter_rows(named=True)]
            drawn[name] = gallery([picture(file) for file in its[column]], captions)
    return drawn


def _caption(row: Mapping[str, Any]) -> str:
    """Return lines: what was asked about a file, what was said, and what is right where that is another."""
    lines = [row["asked"]] if "asked" in row else []
    lines.append(row["predicted"])
    if row["predicted"] != row["actual"]:
        lines.append(f"is {row['actual']}")
    return "\n".join(map(_short, lines))


def _short(text: str | None) -> str:
    """Return the beginning of a text, in one line."""
    text = " ".join((text or "").split())
    return text if len(text) <= LETTERS else f"{text[:LETTERS]}…"


def gallery(pictures: Sequence[Any], captions: Sequence[str]) -> Figure:
    """Draw pictures beside each other, each with a line, or some, below it."""
    rows = -(-len(pictures) // ACROSS)
    figure = canvas(1.6 * ACROSS, 1.9 * rows)
    for place, axes in enumerate(figure.subplots(rows, ACROSS, squeeze=False).flat):
        axes.axis("off")
        if place < len(pictures):
            axes.imshow(pictures[place])
            axes.set_title(captions[place], fontsize=6, y=-0.04, va="top", pad=0)
    return figure


def bars(numbers: Mapping[str, float], title: str) -> Figure:
    """Draw a bar for each name, of numbers from 0 to 1."""
    figure = canvas(5, 1 + 0.25 * min(len(numbers), 4 * NAMED))
    axes = figure.add_subplot()
    axes.barh(list(numbers), list(numbers.values()))
    axes.invert_yaxis()
    axes.set(xlim=(0, 1), title=title)
    return figure


def per_label(scores: Mapping[str, Mapping[str, float]]) -> Figure:
    """Draw F1 of each label, the lowest first, with its number of rows: of many labels the lowest alone."""
    worst = sorted(scores, key=lambda label: (scores[label]["f1"], label))[:NAMED]
    figure = canvas(6, 1 + 0.2 * len(worst))
    axes = figure.add_subplot()
    axes.barh(range(len(worst)), [scores[label]["f1"] for label in worst])
    axes.set_yticks(range(len(worst)), [f"{label} ({scores[label]['support']})" for label in worst])
    axes.invert_yaxis()
    axes.set(xlabel="F1 on test", xlim=(0, 1), title=f"{len(worst)} of {len(scores)} labels")
    return figure


def scatter(predicted: pl.Series, actual: pl.Series) -> Figure:
    """Draw predicted numbers over actual ones."""
    figure = canvas(4, 4)
    axes = figure.add_subplot()
    axes.plot(actual, actual, color="gray", linewidth=0.5)
    axes.scatter(actual, predicted, s=8)
    axes.set(xlabel="actual", ylabel="predicted", title=f"{len(actual)} rows of test")
    return figure
