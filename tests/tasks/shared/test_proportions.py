"""Tango's interval as it was published, the exact tails that widen it, and what either does where nothing differs."""

import math

import numpy as np
import pytest
from scipy.stats import binom, norm

from tasks.shared.proportions import Pairs, interval, likeliest, score_tail, tail, tango


@pytest.mark.parametrize(
    ("pairs", "level", "published"),
    [
        # airway hyper-responsiveness (Bentur et al. 2009) in Fagerland, Lydersen and Laake 2014, table V
        (Pairs(1, 7, 21), 0.95, (-0.517, -0.026)),
        # complete response (Cavo et al. 2012) in the tests of R's contingencytables
        (Pairs(6, 16, 161), 0.95, (-0.1240, -0.0054)),
        # R's PropCIs: scoreci.mp(25, 28, 618, 0.9), which is of the second less the first
        (Pairs(28, 25, 618), 0.9, (-0.0148, 0.0247)),
    ],
)
def test_tangos_interval_is_the_published_one(
    pairs: Pairs, level: float, published: tuple[float, float]
) -> None:
    decimals = 3 if pairs.rows == 21 else 4
    assert tuple(round(end, decimals) for end in tango(pairs, level)) == published


def test_where_no_row_differs_it_is_known_in_closed_form() -> None:
    for rows, level in ((20, 0.95), (50, 0.999), (100_000, 1 - 1e-7)):
        squared = norm.isf((1 - level) / 2) ** 2
        end = squared / (rows + squared)
        assert tango(Pairs(0, 0, rows), level) == pytest.approx((-end, end), rel=1e-6)
        # exactly: no row of so many, (1 - end)^rows, which is Clopper and Pearson's
        exact = 1 - ((1 - level) / 2) ** (1 / rows)
        assert interval(Pairs(0, 0, rows), level)[1] == pytest.approx(max(end, exact), rel=1e-6)


def test_where_all_rows_differ_one_end_is_the_last_there_is() -> None:
    low, high = interval(Pairs(20, 0, 20), 0.95)
    assert high == pytest.approx(1)
    assert 0.6 < low < 0.75
    low, high = interval(Pairs(0, 5, 5), 1 - 1e-7)
    assert low == -1
    assert high > 0.5


def test_seen_from_the_other_model_it_is_mirrored() -> None:
    low, high = interval(Pairs(9, 3, 70), 0.99)
    assert interval(Pairs(3, 9, 70), 0.99) == (-high, -low)


def test_the_likeliest_probabilities_are_found() -> None:
    pairs, difference = Pairs(9, 4, 60), 0.01
    grid = np.linspace(1e-6, 0.4, 40_001)
    likelihood = 9 * np.log(grid + difference) + 4 * np.log(grid) + 47 * np.log(1 - 2 * grid - difference)
    assert likeliest(pairs, difference) == pytest.approx(grid[likelihood.argmax()], abs=2e-5)


@pytest.mark.parametrize("difference", [-0.3, 0, 0.01, 0.2])
@pytest.mark.parametrize("pairs", [Pairs(4, 1, 12), Pairs(0, 0, 12), Pairs(12, 0, 12), Pairs(1, 6, 12)])
def test_exact_tails_are_those_of_all_tables(pairs: Pairs, difference: float) -> None:
    q = likeliest(pairs, difference)
    exact = 0.0
    for mine in range(13):
        for other in range(13 - mine):
            if mine - other >= pairs.mine - pairs.other:
                ways = math.comb(12, mine) * math.comb(12 - mine, other)
                exact += (
                    ways
                    * (q + difference) ** mine
                    * q**other
                    * (1 - 2 * q - difference) ** (12 - mine - other)
                )
    assert tail(pairs, difference) == pytest.approx(max(exact, score_tail(pairs, difference)), abs=1e-9)


def rate(rows: int, margin: float, differing: float, alpha: float) -> tuple[float, float]:
    """Return how often Tango's score and the exact tail show more than the margin, where it is the true difference."""
    mine, other = (differing + margin) / 2, (differing - margin) / 2
    by_score = exactly = 0.0
    for its in range(40):
        for my in range(60):
            pairs = Pairs(my, its, rows)
            is_shown = score_tail(pairs, margin) <= alpha
            probability = binom.pmf(its, rows, other) * binom.pmf(my, rows - its, mine / (1 - other))
            by_score += probability * is_shown
            exactly += probability * (is_shown and tail(pairs, margin) <= alpha)
    return by_score / alpha, exactly / alpha


def test_beyond_a_margin_tangos_score_is_too_sure_and_exact_tails_are_not() -> None:
    for rows, margin, differing, alpha in ((100, 0.03, 0.05, 0.025), (500, 0.03, 0.031, 1e-4)):
        by_score, exactly = rate(rows, margin, differing, alpha)
        assert by_score > 1.5
        assert exactly < 1.05


def test_the_interval_is_what_tails_do_not_reject() -> None:
    for pairs in (Pairs(30, 12, 400), Pairs(2, 0, 25)):
        for level in (0.9, 0.999, 1 - 1e-7):
            low, high = interval(pairs, level)
            assert tail(pairs, low) == pytest.approx((1 - level) / 2, rel=1e-5)
            assert tail(pairs.swapped, -high) == pytest.approx((1 - level) / 2, rel=1e-5)
            its_low, its_high = tango(pairs, level)
            assert low <= its_low + 1e-9
            assert its_high <= high + 1e-9


def test_many_rows_take_no_time_and_are_as_the_normal_distribution_has_it() -> None:
    pairs = Pairs(9_000, 8_000, 1_000_000)
    error = math.sqrt(17_000 - 1000**2 / 1e6) / 1e6
    expected = (0.001 - 1.96 * error, 0.001 + 1.96 * error)
    assert interval(pairs, 0.95) == pytest.approx(expected, rel=0.02)
