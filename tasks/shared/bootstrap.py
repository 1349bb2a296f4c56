"""How sure a metric is: the bootstrap of its sums, of the difference of two models, and of slices.

What is resampled is a unit: a row, or a group of rows (a speaker, a document) where rows of one group are
alike. Units that add the same to all sums are one cell, and a resample is how often each cell was drawn. Sums
are added one after another in the order of the cells, never by BLAS, so threads and their number change no
bit.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import chain, product
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from tasks.shared.params import Evaluate
from tasks.shared.statistics import (
    METRICS,
    Added,
    Array,
    Statistic,
    Statistics,
    added,
    per_label,
    take,
    values,
)

# numbers drawn at once: enough for small test sets to need few calls, few enough for 100 MB
AT_ONCE = 1_000_000


class Estimate(NamedTuple):
    """A metric on all rows, and its bootstrap interval."""

    value: float
    low: float
    high: float


class Difference(NamedTuple):
    """One model's metric less another's, its interval, and in which share of resamples the one is better."""

    value: float
    low: float
    high: float
    better: float


def bootstrap(
    statistics: Statistics,
    params: Evaluate,
    groups: pl.Series | None = None,
) -> dict[str, Estimate]:
    """Return each metric with its percentile interval (Efron 1979), all from the same resamples.

    groups: which group each row belongs to; then groups are resampled, not rows (Field and Welsh 2007). A
    resample for which a metric is not defined is left out of its interval; without any other, the ends are
    NaN.
    """
    drawn = resample(statistics, units_of(statistics, groups), params.n_resamples, params.seed)
    found = values(statistics, groups)
    return {name: Estimate(found[name], *_interval(drawn[name], params)) for name in statistics}


def paired(
    mine: Statistics,
    other: Statistics,
    params: Evaluate,
    groups: pl.Series | None = None,
) -> dict[str, Difference]:
    """Return mine less the other's for each metric of both, on the same rows in the same order.

    Both are resampled together: what both models find hard is no part of the difference (Efron and Tibshirani
    1993, chapter 10).
    """
    both: dict[tuple[bool, str], Statistic] = {}
    for name in mine:
        if name in other:
            both |= {(True, name): mine[name], (False, name): other[name]}
    drawn = resample(both, units_of(both, groups), params.n_resamples, params.seed)
    mine_on_all, other_on_all = values(mine, groups), values(other, groups)
    found = {}
    for is_mine, name in both:
        if is_mine:
            difference = drawn[True, name] - drawn[False, name]
            sign = 1 if METRICS[mine[name].metric].higher_is_better else -1
            better = float(np.mean(sign * difference > 0))
            value = mine_on_all[name] - other_on_all[name]
            found[name] = Difference(value, *_interval(difference, params), better)
    return found


def scores(statistics: Statistics, params: Evaluate, groups: pl.Series | None = None) -> dict[str, Any]:
    """Return what metrics/evaluate.json holds of them.

    That is rows, each metric, `interval` of each, and `per_class` where rows have labels.
    """
    found = bootstrap(statistics, params, groups)
    whole: dict[str, Any] = {"rows": _num_rows(statistics)}
    whole |= {name: estimate.value for name, estimate in found.items()}
    whole["interval"] = {name: [estimate.low, estimate.high] for name, estimate in found.items()}
    for statistic in statistics.values():
        if "per_class" not in whole and "label" in METRICS[statistic.metric].takes.values():
            whole["per_class"] = per_label(statistic)
    return whole


def by_slice(
    statistics: Statistics,
    slices: pl.DataFrame,
    params: Evaluate,
    groups: pl.Series | None = None,
) -> pl.DataFrame:
    """Return every metric with its interval for each value of each column of `slices` (a row per test row).

    Columns: slice (the column's name), value, rows, and for each metric NAME, NAME_low, NAME_high, null where
    not defined. Of each column, the value with most rows is first. Nothing is corrected for looking at many
    slices.
    """
    table = []
    for name, value, rows in rows_by_value(slices):
        found = bootstrap(take(statistics, rows), params, None if groups is None else groups[rows])
        table.append([name, value, len(rows), *chain.from_iterable(found.values())])
    numbers = [f"{metric}{end}" for metric, end in product(statistics, ("", "_low", "_high"))]
    schema = {"slice": pl.String, "value": pl.String, "rows": pl.Int64, **dict.fromkeys(numbers, pl.Float64)}
    defined = pl.when(pl.col(numbers).is_finite()).then(pl.col(numbers))
    return pl.DataFrame(table, schema, orient="row").with_columns(defined)


def rows_by_value(slices: pl.DataFrame) -> Iterator[tuple[str, str | None, pl.Series]]:
    """Yield the numbers of the rows of each value of each column; of each, the value with most rows first."""
    for name in slices.columns:
        rows = slices.select(value=pl.col(name).cast(pl.String)).with_row_index("row")
        by_value = rows.group_by("value").agg("row", rows=pl.len())
        for value, inside, _ in by_value.sort("rows", "value", descending=[True, False]).iter_rows():
            yield name, value, pl.Series(inside)


def _num_rows(statistics: Mapping[Any, Statistic]) -> int:
    (num_rows,) = {statistic.columns.height for statistic in statistics.values()}
    return num_rows


def _interval(drawn: Array, params: Evaluate) -> tuple[float, float]:
    defined = drawn[np.isfinite(drawn)]
    if not len(defined):
        return np.nan, np.nan
    beyond = (1 - params.confidence_level) / 2
    low, high = np.quantile(defined, [beyond, 1 - beyond])
    return float(low), float(high)


@dataclass(frozen=True)
class Units:
    """What is resampled."""

    # which cell each unit is of, (units,)
    cell: np.ndarray
    # what one unit of a cell adds to the sums, (k, cells)
    added: Added
    # which of the k sums belong to a statistic
    part: Mapping[Any, slice]


def resample(
    statistics: Mapping[Any, Statistic],
    units: Units,
    n_resamples: int,
    seed: int,
) -> dict[Any, Array]:
    """Return each metric in each resample, (n_resamples,); NaN where it is not defined."""
    found = {name: np.empty(n_resamples) for name in statistics}
    start = 0
    for counts in _counts(units.cell, units.added.shape[1], n_resamples, seed):
        sums = np.ascontiguousarray((units.added @ counts).T)
        for name, statistic in statistics.items():
            metric = METRICS[statistic.metric]
            make = metric.of_resample or metric.value
            with np.errstate(all="ignore"):
                found[name][start : start + len(sums)] = make(sums[:, units.part[name]])
        start += len(sums)
    return found


def _counts(cell: np.ndarray, num_cells: int, n_resamples: int, seed: int) -> Iterator[Array]:
    """Yield how often each cell is drawn in some of the resamples, (cells, resamples) float64."""
    random = np.random.default_rng(seed)
    step = max(1, AT_ONCE // len(cell))
    for start in range(0, n_resamples, step):
        resamples = min(step, n_resamples - start)
        drawn = cell[random.integers(len(cell), size=(resamples, len(cell)))]
        drawn += num_cells * np.arange(resamples)[:, None]
        counts = np.bincount(drawn.ravel(), minlength=resamples * num_cells)
        yield np.ascontiguousarray(counts.reshape(resamples, num_cells).T, dtype=np.float64)


def units_of(statistics: Mapping[Any, Statistic], groups: pl.Series | None) -> Units:
    """Return what is resampled: groups, or rows, those that are alike as one cell."""
    from scipy import sparse

    if groups is None:
        rows, cell = cells_of(statistics)
        statistics = take(statistics, rows)
    stacked: list[Added] = []
    part: dict[Any, slice] = {}
    known: dict[Any, slice] = {}
    num_sums = 0
    for name, statistic in statistics.items():
        key = (METRICS[statistic.metric].adds, id(statistic.columns))
        if key not in known:
            stacked.append(added(statistic, groups))
            known[key] = slice(num_sums, num_sums + stacked[-1].shape[0])
            num_sums = known[key].stop
        part[name] = known[key]
    if groups is not None:
        cell = np.arange(stacked[0].shape[1])
    # by columns: each cell's numbers are read once for all resamples that are drawn together
    return Units(cell, sparse.vstack(stacked, format="csc"), part)


def cells_of(statistics: Mapping[Any, Statistic]) -> tuple[np.ndarray, np.ndarray]:
    """Return the first row of each cell, and the cell of each row: rows that are alike in all columns."""
    columns: dict[str, pl.Series] = {}
    for frame in {id(statistic.columns): statistic.columns for statistic in statistics.values()}.values():
        columns |= {f"{len(columns)} {column.name}": column for column in frame}
    rows = pl.DataFrame(columns).with_row_index("row").group_by(*columns, maintain_order=True).agg("row")
    number = rows["row"].explode().to_numpy()
    cell = np.empty(len(number), dtype=np.int64)
    cell[number] = np.repeat(np.arange(rows.height), rows["row"].list.len().to_numpy())
    return rows["row"].list.first().to_numpy(), cell
