"""What the difference of two models rests on: rows that are right or not, or sums of any units."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import reduce
from operator import or_

import numpy as np
import polars as pl

from tasks.shared import proportions
from tasks.shared.bootstrap import AT_ONCE, Units, resample, units_of
from tasks.shared.errors import InputError
from tasks.shared.proportions import Pairs
from tasks.shared.statistics import METRICS, Array, Statistic, values

MINE, OTHER = "mine", "other"
# as good as 0, but for rounding
NOTHING = 1e-9


def evidence_of(
    mine: Statistic,
    other: Statistic,
    groups: pl.Series | None,
    n_resamples: int,
    seed: int,
) -> "OfFlags | OfSums":
    """Return what the difference of a metric rests on: flags of rows, or else sums."""
    check(mine, other)
    if groups is None and _is_flag(mine):
        return of_flags(pairs_of(mine, other))
    return of_sums(mine, other, groups, n_resamples, seed)


def check(mine: Statistic, other: Statistic) -> None:
    """Raise InputError when two statistics cannot be compared."""
    if mine.metric != other.metric:
        raise InputError(f"{mine.metric} cannot be compared with {other.metric}; measure both alike")
    if mine.columns.dtypes != other.columns.dtypes:
        wrong = f"{mine.metric} of the two models was measured with other labels"
        raise InputError(f"{wrong}; measure both with the same")
    rows, its_rows = mine.columns.height, other.columns.height
    if rows != its_rows or not rows:
        raise InputError(f"{rows} rows cannot be compared with {its_rows}; measure both on the same rows")


def pairs_of(mine: Statistic, other: Statistic) -> Pairs:
    """Return in how many rows only one of two models is right, by the one flag that their metric takes."""
    check(mine, other)
    if not _is_flag(mine):
        raise InputError(f"{mine.metric} does not say of each row whether it is right; compare accuracy")
    my_flags, its_flags = mine.columns.to_series(), other.columns.to_series()
    return Pairs(int((my_flags & ~its_flags).sum()), int((its_flags & ~my_flags).sum()), len(my_flags))


def _is_flag(statistic: Statistic) -> bool:
    return list(METRICS[statistic.metric].takes.values()) == ["flag"]


# flags of rows


@dataclass(frozen=True)
class OfFlags:
    """The difference of a metric that is the share of rows with a flag."""

    pairs: Pairs
    value: float
    standard_error: float
    units: int
    method: str = "Tango's score interval for paired proportions, with exact tails"

    def interval(self, level: float) -> tuple[float, float]:
        """Return the two-sided interval at a confidence level."""
        return proportions.interval(self.pairs, level)

    def tail(self, threshold: float, sign: int) -> float:
        """Return the one-sided p-value of a true difference that, times sign, is at most the threshold."""
        return proportions.tail(self.pairs if sign > 0 else self.pairs.swapped, threshold)


def of_flags(pairs: Pairs) -> OfFlags:
    """Return the difference of two shares of rows, with the standard error of paired proportions."""
    discordant = pairs.mine + pairs.other
    error = math.sqrt(max(discordant - pairs.rows * pairs.difference**2, 0)) / pairs.rows
    return OfFlags(pairs, pairs.difference, error, pairs.rows)


# sums of units


@dataclass(frozen=True)
class OfSums:
    """The difference of any metric, and how it varies.

    standard_error: NaN where nothing can be shown. freedom: degrees of freedom. skewness: of the difference,
    as its units' skewness / sqrt(units) has it. differing: units in which the two models' statistics are not
    the same.
    """

    value: float
    standard_error: float
    units: int
    freedom: float
    skewness: float
    differing: int
    method: str

    def interval(self, level: float) -> tuple[float, float]:
        """Return the two-sided interval at a confidence level; infinite where nothing can be shown.

        By Student's t, after Hall's transformation (1992, Journal of the Royal Statistical Society B 54,
        221-228) where that is further: skewness lengthens an end and never shortens the other, for what looks
        skew may be so by chance. Where so few units differ that chance may have put all on one side (a sign
        test), the ends reach at least as far as Tango's for paired proportions do where none differs.
        """
        from scipy.special import stdtrit

        if math.isnan(self.standard_error):
            return -math.inf, math.inf
        beyond = (1 - level) / 2
        quantile = -float(stdtrit(self.freedom, beyond))
        below = max(quantile, _back(quantile, self.skewness))
        above = max(quantile, -_back(-quantile, self.skewness))
        low, high = self.value - below * self.standard_error, self.value + above * self.standard_error
        if 0.5**self.differing <= beyond:
            return low, high
        least = proportions.tango(Pairs(0, 0, self.units), level)
        return min(low, least[0]), max(high, least[1])

    def tail(self, threshold: float, sign: int) -> float:
        """Return the one-sided p-value of a true difference that, times sign, is at most the threshold."""
        from scipy.special import stdtr

        if math.isnan(self.standard_error):
            return 1.0
        distance, skewness = sign * self.value - threshold, sign * self.skewness
        if self.standard_error == 0:
            return max(float(distance <= 0), 0.5**self.differing)
        beyond = distance / self.standard_error
        return max(float(stdtr(self.freedom, -min(beyond, _forth(beyond, skewness)))), 0.5**self.differing)


def of_sums(
    mine: Statistic,
    other: Statistic,
    groups: pl.Series | None,
    n_resamples: int,
    seed: int,
) -> OfSums:
    """Return the difference with the standard error of the paired bootstrap, and its units' skewness.

    Both models are resampled together (Efron and Tibshirani 1993, chapter 10), whole groups where there are
    groups (Field and Welsh 2007). Skewness and kurtosis are those of the jackknife's influence of each unit
    (Efron 1987, Journal of the American Statistical Association 82, 171-185); with the kurtosis, degrees of
    freedom are Satterthwaite's (1946, Biometrics Bulletin 2, 110-114): as many as make the variance as sure
    as it is.
    """
    both = {MINE: mine, OTHER: other}
    units = units_of(both, groups)
    num_units = len(units.cell)
    on_all = values(both, groups)
    value = on_all[MINE] - on_all[OTHER]
    method = f"Student's t on the paired bootstrap's standard error, {'rows' if groups is None else 'groups'}"
    differing = _num_differing(mine, other, groups)
    influence = _influence(both, units)
    if num_units == 1 or not (math.isfinite(value) and np.isfinite(influence).all()):
        return OfSums(value, math.nan, num_units, math.nan, math.nan, differing, method)
    drawn = resample(both, units, n_resamples, seed)
    difference = drawn[MINE] - drawn[OTHER]
    # a sample's variance is that of its resamples times n / (n - 1)
    error = float(np.std(difference[np.isfinite(difference)])) * math.sqrt(num_units / (num_units - 1))
    return OfSums(value, error, num_units, *shape_of(influence), differing, method)


def _num_differing(mine: Statistic, other: Statistic, groups: pl.Series | None) -> int:
    """Return in how many units the two models' statistics are not the same."""
    pairs = zip(mine.columns, other.columns, strict=True)
    differ = reduce(or_, (one.ne_missing(another) for one, another in pairs))
    return int(differ.sum()) if groups is None else groups.filter(differ).n_unique()


def _influence(both: Mapping[str, Statistic], units: Units) -> Array:
    """Return by how much each unit moves the difference: that of all units less that without it, (units,)."""
    counts = np.bincount(units.cell).astype(np.float64)
    sums = units.added @ counts
    found = np.empty(len(counts))
    step = max(1, AT_ONCE // len(sums))
    for start in range(0, len(counts), step):
        cells = slice(start, start + step)
        without = np.ascontiguousarray((sums[:, None] - units.added[:, cells].toarray()).T)
        made = {}
        for name, statistic in both.items():
            with np.errstate(all="ignore"):
                made[name] = METRICS[statistic.metric].value(without[:, units.part[name]])
        found[cells] = made[OTHER] - made[MINE]
    of_units: Array = found[units.cell]
    return of_units


def shape_of(influence: Array) -> tuple[float, float]:
    """Return the degrees of freedom and the skewness of the sum of what units add."""
    num_units = len(influence)
    centred = influence - influence.mean()
    variance = float(np.mean(centred**2))
    if math.sqrt(variance) <= NOTHING * float(np.abs(influence).max()):
        return num_units - 1, 0.0
    kurtosis = float(np.mean(centred**4)) / variance**2
    skewness = float(np.mean(centred**3)) / variance**1.5 / math.sqrt(num_units)
    return min(num_units - 1, 2 * num_units / max(kurtosis - 1, NOTHING)), skewness


def _forth(t: float, skewness: float) -> float:
    """Return Hall's transform of a skew t, which is nearly Student's."""
    if abs(skewness) < NOTHING:
        return t
    return ((1 + skewness * t / 3) ** 3 - 1) / skewness + skewness / 6


def _back(quantile: float, skewness: float) -> float:
    """Return the t of which the quantile is Hall's transform."""
    if abs(skewness) < NOTHING:
        return quantile
    return float(3 / skewness * (np.cbrt(1 + skewness * (quantile - skewness / 6)) - 1))
