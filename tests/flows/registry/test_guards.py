"""What holds a model that is better: overconfidence, unknown tokens, size, time for a row."""

import numpy as np
import polars as pl
import pytest

from flows.registry.guards import held, overconfidence, too_slow
from tasks.shared.measured import Measured
from tasks.shared.params import Promote
from tasks.shared.statistics import Statistic

ROWS = 4000


def sure(accuracy: float, confidence: float) -> Measured:
    """Return rows that are right so often, and say that they are right with such a probability."""
    right = np.arange(ROWS) < round(accuracy * ROWS)
    columns = pl.DataFrame({"correct": right, "confidence": np.full(ROWS, confidence)})
    ids = pl.Series("id", [f"{number:064x}" for number in range(ROWS)])
    return Measured(ids, {"calibration_error": Statistic("calibration_error", columns)}, None, pl.DataFrame())


@pytest.mark.parametrize(
    ("mine", "other", "rises"),
    [
        # better and surer than it is right
        ((0.9, 0.99), (0.8, 0.8), True),
        # better, and not as sure as it is right: whoever acts on what it says loses nothing
        ((0.9, 0.5), (0.8, 0.8), False),
        # as much too sure as the champion is
        ((0.85, 0.95), (0.8, 0.9), False),
        # less so than the champion
        ((0.9, 0.92), (0.7, 0.95), False),
    ],
)
def test_who_is_surer_than_right_is_held_and_who_is_less_sure_is_not(
    mine: tuple[float, float], other: tuple[float, float], rises: bool
) -> None:
    both = overconfidence(sure(*mine), sure(*other))
    for name, (accuracy, confidence) in (("candidate", mine), ("other", other)):
        assert both[name] == pytest.approx(max(confidence - accuracy, 0), abs=0.003)
    said = held(Promote(), both, {}, {})
    assert bool(said) == rises
    assert all("surer than it is right by 0.0" in reason for reason in said)


def test_bins_that_say_too_much_are_not_made_good_by_those_that_say_too_little() -> None:
    both = (sure(0.9, 0.7), sure(0.7, 0.9))
    columns = pl.concat([its.statistics["calibration_error"].columns for its in both])
    mixed = Measured(
        pl.Series("id", ["0"] * 2 * ROWS),
        {"calibration_error": Statistic("calibration_error", columns)},
        None,
        pl.DataFrame(),
    )
    found = overconfidence(mixed, sure(0.8, 0.8))
    assert found["candidate"] == pytest.approx((0.5 * 0.2**2) ** 0.5, abs=0.003)


def test_models_without_confidence_are_not_asked_how_sure_they_are() -> None:
    none = Measured(pl.Series("id", ["0"]), {}, None, pl.DataFrame())
    assert overconfidence(none, sure(0.9, 0.9)) == {}
    assert held(Promote(), {}, {}, {}) == []


def test_each_other_guard_says_what_is_worse_and_which_param_holds_it() -> None:
    rules = Promote(max_latency_ratio=1.5)
    unknown, megabytes = {"candidate": 0.05, "other": 0.01}, {"candidate": 300.0, "other": 100.0}
    shares = "5.0% of the test rows' tokens instead of 1.0%"
    assert held(rules, {}, unknown, megabytes) == [
        f"its tokenizer does not know {shares} (promote.max_unknown_rise 0.02)",
        "its package is too large (300.0 MB instead of 100.0 MB, promote.max_size_ratio 2)",
    ]
    assert too_slow(rules, {"candidate": 20.0, "other": 10.0, "rows": 50}) == [
        "it is too slow (20.0 ms for a row instead of 10.0 ms, promote.max_latency_ratio 1.5)"
    ]
    assert too_slow(rules, {"candidate": 14.0, "other": 10.0}) == []
    assert too_slow(Promote(), {"candidate": 99.0, "other": 10.0}) == [], "as it comes, nothing is measured"
