"""How probable so large a difference would be, were the two models exchangeable: tests that swap them.

For information beside the interval (paired.py): they know no margin.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tasks.shared.bootstrap import AT_ONCE, cells_of
from tasks.shared.evidence import check, pairs_of
from tasks.shared.statistics import METRICS, Added, Array, Statistic, added

# fewer permutations than this beyond the observed difference do not tell how rare it is
LEAST_BEYOND = 10


def mcnemar(mine: Statistic, other: Statistic) -> float:
    """Return the exact two-sided p-value of two models' flags, a row each, such as right or not.

    Of the rows where only one model is right, as many would be mine as the other's (McNemar 1947,
    Psychometrika 12, 153-157; exactly: a binomial test with 1/2). Raises InputError when the metric takes
    anything but one flag.
    """
    from scipy.stats import binomtest

    pairs = pairs_of(mine, other)
    discordant = pairs.mine + pairs.other
    return float(binomtest(pairs.mine, discordant).pvalue) if discordant else 1.0


def permutation(
    mine: Statistic,
    other: Statistic,
    groups: pl.Series | None = None,
    n_resamples: int = 1000,
    seed: int = 0,
) -> float:
    """Return the two-sided p-value of the difference, from swapping the models' rows or groups at random.

    Each is swapped with probability 1/2, and the metric is made again of both sides' sums (Yeh 2000, arXiv
    cs/0008005). The observed one counts as a permutation, too (Phipson and Smyth 2010), so p is never 0.
    Where fewer than ten are as large, p is the normal tail beyond the observed difference over the
    permutations' standard deviation. NaN where the difference is not defined.
    """
    check(mine, other)
    value = METRICS[mine.metric].value
    units = _swappable(mine, other, groups)
    my_sums, its_sums = (by_cell @ units.counts for by_cell in (units.mine, units.other))
    drawn = np.empty(n_resamples)
    start = 0
    with np.errstate(all="ignore"):
        observed = abs(float(value(my_sums) - value(its_sums)))
        for swapped in _swapped(units, n_resamples, seed):
            stop = start + len(swapped)
            drawn[start:stop] = value(my_sums - swapped) - value(its_sums + swapped)
            start = stop
    return _p_value(observed, drawn) if math.isfinite(observed) else math.nan


@dataclass(frozen=True)
class _Swappable:
    """What a unit of each cell adds to either model's sums, (k, cells), and how many it has, (cells,)."""

    mine: Added
    other: Added
    counts: NDArray[np.int64]


def _swappable(mine: Statistic, other: Statistic, groups: pl.Series | None) -> _Swappable:
    """Return groups, or rows: those in which both models are alike as one cell."""
    if groups is None:
        rows, cell = cells_of({"mine": mine, "other": other})
        mine, other = (Statistic(one.metric, one.columns[rows]) for one in (mine, other))
        counts = np.bincount(cell)
        unit = pl.int_range(len(rows), eager=True)
    else:
        unit = groups.rank("dense").cast(pl.Int64) - 1
        counts = np.ones(unit.n_unique(), dtype=np.int64)
    # measured together: some metrics count from the mean of all numbers
    names = dict(zip(other.columns.columns, mine.columns.columns, strict=True))
    together = Statistic(mine.metric, pl.concat([mine.columns, other.columns.rename(names)]))
    by_unit = added(together, pl.concat([unit, unit + len(counts)])).tocsc()
    return _Swappable(by_unit[:, : len(counts)], by_unit[:, len(counts) :], counts)


def _swapped(units: _Swappable, n_resamples: int, seed: int) -> Iterator[Array]:
    """Yield by how much swaps lessen the sums of mine in some of the permutations, (permutations, k)."""
    apart = (units.mine - units.other).tocsc()
    # what is the same for both models needs no swap
    differ = np.diff(apart.indptr) > 0
    apart, counts = apart[:, differ], units.counts[differ]
    random = np.random.default_rng(seed)
    step = max(1, AT_ONCE // max(len(counts), apart.shape[0]))
    for start in range(0, n_resamples, step):
        size = (len(counts), min(step, n_resamples - start))
        swaps = random.binomial(counts[:, None], 0.5, size).astype(np.float64)
        yield np.ascontiguousarray((apart @ swaps).T)


def _p_value(observed: float, drawn: Array) -> float:
    from scipy.special import ndtr

    drawn = np.abs(drawn[np.isfinite(drawn)])
    # as large but for rounding is as large
    beyond = int((drawn >= observed * (1 - 1e-9)).sum())
    deviation = math.sqrt(float(np.mean(drawn**2))) if len(drawn) else 0.0
    if beyond >= LEAST_BEYOND or deviation == 0:
        return (beyond + 1) / (len(drawn) + 1)
    return min(1.0, 2 * float(ndtr(-observed / deviation)))
