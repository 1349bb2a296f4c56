"""The difference of two models' shares of right rows, told from the rows where only one of them is right."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Pairs:
    """Of `rows` rows, in how many only mine is right, and in how many only the other is."""

    mine: int
    other: int
    rows: int

    @property
    def swapped(self) -> "Pairs":
        """Return them seen from the other model."""
        return Pairs(self.other, self.mine, self.rows)

    @property
    def difference(self) -> float:
        """Return the observed difference of the two shares, mine less the other's."""
        return (self.mine - self.other) / self.rows


def tango(pairs: Pairs, level: float) -> tuple[float, float]:
    """Return the two-sided score interval of the difference of paired proportions.

    It holds every difference whose score is within the normal quantiles of the level (Tango 1998, Statistics
    in Medicine 17, 891-908). It is for comparison: `interval` is what its tails need.
    """
    return _inverted(pairs, level, score_tail)


def interval(pairs: Pairs, level: float) -> tuple[float, float]:
    """Return Tango's interval, wider where the exact tails of the difference ask for it.

    With few rows in which the models differ, or beyond a margin, the score is skew: at a margin of 0.01 in
    2,000 rows, 1.1 % of which differ, Tango's one-sided 0.1 % is 0.24 % in truth, and its 0.001 % is 0.01 %.
    """
    return _inverted(pairs, level, tail)


def tail(pairs: Pairs, difference: float) -> float:
    """Return the one-sided p-value of a true difference of at most so much: Tango's, or exact if larger.

    Exact: the probability of at least the observed difference of counts, of two multinomial counts with the
    probabilities that are likeliest where `difference` is the true one (the estimated p-value of Storer and
    Kim 1990, Journal of the American Statistical Association 85, 146-155).
    """
    from scipy.stats import binom

    approximate = score_tail(pairs, difference)
    n, q = pairs.rows, likeliest(pairs, difference)
    # the counts of rows where only the other is right that can be expected at all
    around, width = n * q, 10 * math.sqrt(n * q) + 40
    counts = np.arange(max(0, math.floor(around - width)), min(n, math.ceil(around + width)) + 1)
    of_rest = min(1, (q + difference) / (1 - q)) if q < 1 else 0
    least = pairs.mine - pairs.other + counts
    exact = binom.pmf(counts, n, q) * binom.sf(least - 1, n - counts, of_rest)
    return max(approximate, min(1.0, math.fsum(exact)))


def score_tail(pairs: Pairs, difference: float) -> float:
    """Return the same by the normal distribution of Tango's score."""
    from scipy.special import ndtr

    n, q = pairs.rows, likeliest(pairs, difference)
    variance = n * (2 * q + difference * (1 - difference))
    distance = pairs.mine - pairs.other - n * difference
    if variance <= 0:
        return float(distance <= 0)
    return float(ndtr(-distance / math.sqrt(variance)))


def likeliest(pairs: Pairs, difference: float) -> float:
    """Return the likeliest probability that only the other is right, where `difference` is the true one.

    That only mine is right has this probability and the difference more (Tango's equation for q21).
    """
    n = pairs.rows
    b = -pairs.mine - pairs.other + (2 * n - pairs.mine + pairs.other) * difference
    c = -pairs.other * difference * (1 - difference)
    q = (math.sqrt(max(b * b - 8 * n * c, 0)) - b) / (4 * n)
    return min(max(q, 0, -difference), (1 - difference) / 2)


def _inverted(pairs: Pairs, level: float, p_value: Callable[[Pairs, float], float]) -> tuple[float, float]:
    """Return the smallest and the largest difference that a one-sided p-value does not reject."""
    beyond = (1 - level) / 2
    return _least(pairs, beyond, p_value), -_least(pairs.swapped, beyond, p_value)


def _least(pairs: Pairs, beyond: float, p_value: Callable[[Pairs, float], float]) -> float:
    from scipy.optimize import brentq

    def distance(difference: float) -> float:
        return math.log(max(p_value(pairs, difference), 1e-300) / beyond)

    # at the observed difference itself it may be that nothing varies; at -1 there is no smaller one
    near = pairs.difference - 1e-12
    return float(brentq(distance, -1, near, xtol=1e-13)) if near > -1 else -1.0
