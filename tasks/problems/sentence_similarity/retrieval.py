"""How soon what is alike is found among all rows of a split."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from tasks.shared.statistics import Statistic, Statistics

# among how many of the nearest something alike is looked for
RANKS = (1, 5, 10)
# rows that are compared with all others at once; fewer where that would be more numbers than these
AT_ONCE, MOST_NUMBERS = 1024, 2**22


class Retrieved(NamedTuple):
    """Of each row: the nearest other's number, how similar it is, and the rank of the first right one.

    Ranks count from 1. Rank 0: nothing is right.
    """

    nearest: np.ndarray
    similarity: np.ndarray
    rank: np.ndarray


def by_label(vectors: Any, labels: Sequence[str]) -> Retrieved:
    """Look for each row among the others; right is what has its label.

    vectors: (rows, k), dense or sparse, of length 1.
    """
    _, numbers = np.unique(np.asarray(labels, dtype=object).astype(str), return_inverse=True)

    def right(start: int, stop: int) -> np.ndarray:
        alike: np.ndarray = numbers[start:stop, None] == numbers[None, :]
        alike[np.arange(stop - start), np.arange(start, stop)] = False
        return alike

    return _found(vectors, vectors, right, without_itself=True)


def by_pair(vectors: Any, pairs: Any, texts: Sequence[str]) -> Retrieved:
    """Look for each row's pair among all pairs; texts of the pairs: equal ones are right too."""
    _, numbers = np.unique(np.asarray(texts, dtype=object).astype(str), return_inverse=True)
    return _found(
        vectors,
        pairs,
        lambda start, stop: numbers[start:stop, None] == numbers[None, :],
        without_itself=False,
    )


def _found(asked: Any, known: Any, right: Any, *, without_itself: bool) -> Retrieved:
    parts = []
    at_once = max(1, min(AT_ONCE, MOST_NUMBERS // known.shape[0]))
    for start in range(0, asked.shape[0], at_once):
        stop = min(start + at_once, asked.shape[0])
        similar = asked[start:stop] @ known.T
        similar = np.array(similar.todense() if hasattr(similar, "todense") else similar, np.float64)
        rows = np.arange(stop - start)
        if without_itself:
            similar[rows, np.arange(start, stop)] = -np.inf
        alike = right(start, stop)
        best = np.where(alike, similar, -np.inf).max(axis=1)
        # of equally near ones the right one counts last
        rank = 1 + ((similar >= best[:, None]) & ~alike & np.isfinite(similar)).sum(axis=1)
        is_nearest = similar == similar.max(axis=1, keepdims=True)
        is_wrong = is_nearest & ~alike
        nearest = np.where(is_wrong.any(axis=1), is_wrong.argmax(axis=1), is_nearest.argmax(axis=1))
        parts.append((nearest, similar[rows, nearest], np.where(alike.any(axis=1), rank, 0)))
    return Retrieved(*map(np.concatenate, zip(*parts, strict=True)))


def statistics(rank: pl.Series) -> Statistics:
    """Return for how many rows something alike is among the nearest, and the mean of 1 / its rank."""
    found = {}
    for most in RANKS:
        is_found = pl.DataFrame({f"found_at_{most}": rank.is_between(1, most)})
        found[f"recall_at_{most}"] = Statistic("accuracy", is_found)
    inverse = pl.Series([1 / its if its else 0.0 for its in rank], dtype=pl.Float64)
    found["mean_reciprocal_rank"] = Statistic("mean", pl.DataFrame({"reciprocal_rank": inverse}))
    return found
