"""McNemar's test, and permutations that swap two models' rows or groups: against all swaps there are, and scipy."""

import itertools
import math

import numpy as np
import polars as pl
import pytest
from scipy.stats import binomtest, permutation_test

from tasks.shared.errors import InputError
from tasks.shared.statistics import Statistic, classification, values
from tasks.shared.swaps import mcnemar, permutation


def flags(right: np.ndarray) -> Statistic:
    return Statistic("accuracy", pl.DataFrame({"correct": right}))


def numbers(column: np.ndarray) -> Statistic:
    return Statistic("mean", pl.DataFrame({"number": column}))


def pair(predicted: np.ndarray, actual: np.ndarray) -> Statistic:
    return Statistic("pearson", pl.DataFrame({"predicted": predicted, "actual": actual}))


def all_swaps(mine: Statistic, other: Statistic, unit: np.ndarray) -> float:
    """Return the share of all swaps of units whose difference is as large as that of none."""
    frames = [mine.columns, other.columns]

    def difference(swaps: np.ndarray) -> float:
        swap = pl.Series(swaps[unit])
        made = []
        for one, another in (frames, frames[::-1]):
            pairs = zip(one, another, strict=True)
            frame = pl.DataFrame([there.zip_with(swap, here) for here, there in pairs])
            made.append(values({"it": Statistic(mine.metric, frame)})["it"])
        return abs(made[0] - made[1])

    num_units = unit.max() + 1
    found = [difference(np.array(swaps)) for swaps in itertools.product([False, True], repeat=num_units)]
    return float(np.mean(np.array(found) >= found[0] - 1e-12))


def test_mcnemar_is_the_binomial_test_of_the_rows_that_differ() -> None:
    mine, other = np.array([1] * 9 + [0] * 2 + [1] * 5, bool), np.array([0] * 9 + [1] * 2 + [1] * 5, bool)
    assert mcnemar(flags(mine), flags(other)) == binomtest(9, 11).pvalue
    assert mcnemar(flags(mine), flags(mine)) == 1
    with pytest.raises(
        InputError, match="mean does not say of each row whether it is right; compare accuracy"
    ):
        mcnemar(numbers(np.ones(2)), numbers(np.ones(2)))


@pytest.mark.slow
def test_permutations_are_as_all_swaps_have_it() -> None:
    random = np.random.default_rng(0)
    actual = random.integers(0, 3, 8)
    mine, other = (
        classification(
            np.where(random.random(8) < right, actual, random.integers(0, 3, 8)), actual, ["a", "b", "c"]
        )
        for right in (0.9, 0.2)
    )
    for name in mine:
        expected = all_swaps(mine[name], other[name], np.arange(8))
        assert permutation(mine[name], other[name], None, 20_000) == pytest.approx(expected, abs=0.015), name
        unit = np.arange(8) // 2
        expected = all_swaps(mine[name], other[name], unit)
        groups = pl.Series([f"group {number}" for number in unit])
        assert permutation(mine[name], other[name], groups, 20_000) == pytest.approx(expected, abs=0.015), (
            name
        )


def test_metrics_that_count_from_a_mean_are_swapped_as_numbers() -> None:
    random = np.random.default_rng(1)
    actual = random.normal(size=8)
    mine, other = pair(actual + random.normal(size=8), actual), pair(5 + random.normal(size=8), actual)
    expected = all_swaps(mine, other, np.arange(8))
    assert permutation(mine, other, None, 20_000) == pytest.approx(expected, abs=0.015)


def test_permutations_are_scipys_up_to_chance() -> None:
    random = np.random.default_rng(2)
    mine, other = random.exponential(size=40), random.exponential(size=40) + 0.2
    its = permutation_test(
        (mine, other),
        lambda one, two, axis: np.mean(one - two, axis=axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=20_000,
        rng=random,
    )
    assert permutation(numbers(mine), numbers(other), None, 20_000) == pytest.approx(its.pvalue, rel=0.1)


def test_of_flags_they_are_mcnemars_also_where_no_permutation_reaches() -> None:
    for better, worse in ((20, 12), (60, 30), (120, 50)):
        mine = np.r_[np.ones(better, bool), np.zeros(worse, bool), np.ones(500, bool)]
        other = np.r_[np.zeros(better, bool), np.ones(worse, bool), np.ones(500, bool)]
        exact = mcnemar(flags(mine), flags(other))
        # a hundredth of the deviation more or less, this far out
        assert permutation(flags(mine), flags(other), None, 5000) == pytest.approx(exact, rel=0.5)


def test_two_models_that_do_the_same_have_a_p_value_of_1() -> None:
    statistic = numbers(np.arange(5.0))
    assert permutation(statistic, statistic) == 1


def test_what_is_not_defined_has_none() -> None:
    nothing = Statistic("word_error_rate", pl.DataFrame({"edits": [0], "words": [0]}))
    assert math.isnan(permutation(nothing, nothing))


def test_permutations_are_the_same_every_time(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(3)
    mine, other = numbers(random.normal(size=50)), numbers(random.normal(size=50))
    assert permutation(mine, other) == permutation(mine, other)
    assert permutation(mine, other) != permutation(mine, other, seed=1)
