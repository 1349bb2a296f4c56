"""Whether one model is better than another on the same rows: the difference, how sure it is, and the verdict.

Differences are mine less the other's. All that is looked at is what rows or groups add to the sums of a
metric (statistics.py), so this serves every metric. How it holds what it promises: `python -m benchmarks
promotion`.
"""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import polars as pl

from tasks.shared.bootstrap import rows_by_value
from tasks.shared.evidence import OfFlags, OfSums, evidence_of
from tasks.shared.statistics import METRICS, Statistic, take

Verdict = Literal["better", "worse", "equivalent", "inconclusive"]
POWER = 0.8
NUMBERS = ("difference", "low", "high", "detectable", "p")
# what worse_slices returns
SLICES = {
    "slice": pl.String,
    "value": pl.String,
    "rows": pl.Int64,
    **dict.fromkeys(NUMBERS, pl.Float64),
    "decision": pl.String,
}


@dataclass(frozen=True)
class Compared:
    """One model's metric less another's on the same rows, and its two-sided interval.

    method: what the interval was made with, in words. units: how many rows, or groups, were compared. Where
    the metric is not defined (a word error rate without words), or would not be without one of the units,
    nothing can be shown: the interval is infinite and standard_error NaN; value is NaN if the difference
    itself is.
    """

    value: float
    low: float
    high: float
    method: str
    units: int
    standard_error: float

    def detectable(self, margin: float) -> float:
        """Return the true difference that would have been shown to be beyond the margin in 80 % of cases.

        The margin, half of the interval's width and 0.84 standard errors (Cohen 1988, Statistical Power
        Analysis), counted in the good direction; infinite where nothing can be shown.
        """
        from scipy.special import ndtri

        found = margin + (self.high - self.low) / 2 + float(ndtri(POWER)) * self.standard_error
        return math.inf if math.isnan(found) else found


def compare(
    mine: Statistic,
    other: Statistic,
    level: float,
    groups: pl.Series | None = None,
    n_resamples: int = 1000,
    seed: int = 0,
) -> Compared:
    """Return the difference of one metric with its interval at a confidence level, such as 0.95.

    mine, other: of the same metric on the same rows in the same order; InputError where they are not. groups:
    the group of each row, where rows of one group (speaker, document) are alike. The level may be as near to
    1 as many looks make it: no end is a percentile of resamples, which 1,000 of them have only up to 0.98.
    """
    return _compared(evidence_of(mine, other, groups, n_resamples, seed), level)


def verdict(compared: Compared, margin: float, *, higher_is_better: bool) -> Verdict:
    """Return what the interval shows: better or worse by more than the margin, within it, or none of these.

    Within: two one-sided tests (Schuirmann 1987, Journal of Pharmacokinetics and Biopharmaceutics 15,
    657-680).
    """
    if compared.low > margin:
        return "better" if higher_is_better else "worse"
    if compared.high < -margin:
        return "worse" if higher_is_better else "better"
    return "equivalent" if -margin <= compared.low and compared.high <= margin else "inconclusive"


def alpha_of_look(k: int, alpha: float) -> float:
    """Return the part of alpha that the k-th look (from 1) at the same rows may spend.

    The sum of 1 / k^2 is pi^2 / 6 (Euler), so all parts together are alpha, however many looks there will be,
    and looks may depend on each other in any way (Bonferroni).
    """
    return 6 * alpha / (math.pi**2 * k**2)


def least_margin(margin: float, seed_deviation: float | None) -> float:
    """Return the margin, or what seeds alone exceed in one of 20 pairs of trainings, if that is more.

    That is in the candidate's favour; in either direction they exceed it in one of ten.
    seed_deviation: the metric's standard deviation over trainings that differ in their seeds alone, None
    where it is not known; two of them differ by sqrt(2) times as much. That variance between trainings is
    what a difference must be held against, too: Bouthillier et al. 2021, arXiv 2103.03098.
    """
    return margin if seed_deviation is None else max(margin, 1.645 * math.sqrt(2) * seed_deviation)


def worse_slices(
    mine: Statistic,
    other: Statistic,
    slices: pl.DataFrame,
    margin: float,
    alpha: float,
    groups: pl.Series | None = None,
    n_resamples: int = 1000,
    seed: int = 0,
) -> pl.DataFrame:
    """Return for each value of each column of `slices` (a row per test row) whether mine is worse there.

    Columns: slice, value, rows, difference, low, high, detectable, p, decision, largest slices first. p:
    one-sided, that mine is not worse by more than the margin, after Holm (1979, Scandinavian Journal of
    Statistics 6, 65-70). decision: "worse" where p is at most alpha, so that in a share alpha of comparisons
    at most any slice is called so wrongly; "held up" where a loss of twice the margin would have been seen in
    80 % of cases, or the interval has no loss of the margin in it; else "too small". low, high: each at level
    1 - 2 alpha / slices (Bonferroni). Numbers are null where they are not defined.
    """
    sign = 1 if METRICS[mine.metric].higher_is_better else -1
    found = []
    for name, value, rows in rows_by_value(slices):
        some = take({"mine": mine, "other": other}, rows)
        inside = None if groups is None else groups[rows]
        evidence = evidence_of(some["mine"], some["other"], inside, n_resamples, seed)
        found.append((name, value, len(rows), evidence))
    corrected = _holm([evidence.tail(margin, -sign) for *_, evidence in found])
    table = []
    for (name, value, num_rows, evidence), p in zip(found, corrected, strict=True):
        it = _compared(evidence, 1 - 2 * alpha / len(found))
        least, detectable = it.low if sign > 0 else -it.high, it.detectable(margin)
        is_seen = least > -margin or detectable <= 2 * margin
        decision = "worse" if p <= alpha else "held up" if is_seen else "too small"
        table.append([name, value, num_rows, it.value, it.low, it.high, detectable, p, decision])
    defined = pl.when(pl.col(NUMBERS).is_finite()).then(pl.col(NUMBERS))
    return pl.DataFrame(table, SLICES, orient="row").with_columns(defined)


def _compared(evidence: OfFlags | OfSums, level: float) -> Compared:
    low, high = evidence.interval(level)
    of = (evidence.method, evidence.units, evidence.standard_error)
    return Compared(evidence.value, low, high, *of)


def _holm(p_values: list[float]) -> list[float]:
    """Return p-values to be held against the alpha of all of them together (Holm 1979)."""
    order = np.argsort(p_values, kind="stable")
    factors = np.arange(len(p_values), 0, -1)
    corrected = np.empty(len(p_values))
    corrected[order] = np.minimum(np.maximum.accumulate(np.array(p_values)[order] * factors), 1)
    return corrected.tolist()
