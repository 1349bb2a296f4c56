"""Intervals, differences and slices: scipy's, the same bytes whatever the threads, and what groups and coverage do to them."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from scipy.stats import bootstrap as scipys

from tasks.shared.bootstrap import Difference, bootstrap, by_slice, paired, scores
from tasks.shared.params import Evaluate
from tasks.shared.statistics import Statistic, classification
from tests.support.coverage import covered
from tests.support.project import ROOT

PARAMS = Evaluate(n_resamples=300)
MANY = Evaluate(n_resamples=20_000)
LABELS = ["a", "b", "c", "d"]


def draw(seed: int, rows: int = 60, right: float = 0.7) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return predicted and actual label numbers, and confidences."""
    random = np.random.default_rng(seed)
    actual = random.integers(0, 4, rows)
    predicted = np.where(random.random(rows) < right, actual, random.integers(0, 4, rows))
    return predicted, actual, random.uniform(0.3, 1, rows)


def of(predicted: np.ndarray, actual: np.ndarray, confidence: np.ndarray) -> dict[str, Statistic]:
    return classification(predicted, actual, LABELS, confidence)


def macro(predicted: np.ndarray, actual: np.ndarray) -> float:
    f1 = []
    for label in set(actual.tolist()):
        said, true = predicted == label, actual == label
        f1.append(2 * (said & true).sum() / (said.sum() + true.sum()))
    return float(np.mean(f1))


# scipy


def test_intervals_are_scipys_where_the_resamples_are_the_same() -> None:
    predicted, actual, confidence = draw(0, rows=200)
    found = bootstrap(of(predicted, actual, confidence), PARAMS)["macro_f1"]
    its = scipys(
        (predicted, actual),
        macro,
        paired=True,
        vectorized=False,
        n_resamples=PARAMS.n_resamples,
        method="percentile",
        rng=np.random.default_rng(PARAMS.seed),
    )
    assert (found.low, found.high) == pytest.approx(its.confidence_interval, rel=1e-14)


def test_scores_are_what_the_file_of_metrics_holds() -> None:
    statistics = of(*draw(0))
    names = ["accuracy", "macro_f1", "weighted_f1", "calibration_error"]
    found = scores(statistics, PARAMS)
    assert list(found) == ["rows", *names, "interval", "per_class"]
    for name, (value, low, high) in bootstrap(statistics, PARAMS).items():
        assert found[name] == value
        assert found["interval"][name] == [low, high]
    assert list(found["per_class"]) == LABELS
    assert "per_class" not in scores({"accuracy": statistics["accuracy"]}, PARAMS)
    # as JSON has it
    assert json.loads(json.dumps(found)) == found


def test_intervals_are_scipys_up_to_chance() -> None:
    predicted, actual, confidence = draw(1)
    found = bootstrap(of(predicted, actual, confidence), MANY)["macro_f1"]
    its = scipys(
        (predicted, actual),
        macro,
        paired=True,
        vectorized=False,
        n_resamples=2000,
        method="percentile",
        rng=np.random.default_rng(5),
    )
    assert (found.low, found.high) == pytest.approx(its.confidence_interval, abs=0.01)


def test_paired_intervals_are_scipys_up_to_chance() -> None:
    predicted, actual, confidence = draw(2)
    other = np.where(np.random.default_rng(9).random(60) < 0.2, 0, predicted)
    found = paired(of(predicted, actual, confidence), of(other, actual, confidence), MANY)["macro_f1"]
    its = scipys(
        (predicted, other, actual),
        lambda one, two, true: macro(one, true) - macro(two, true),
        paired=True,
        vectorized=False,
        n_resamples=2000,
        method="percentile",
        rng=np.random.default_rng(5),
    )
    assert found.value == pytest.approx(macro(predicted, actual) - macro(other, actual))
    assert (found.low, found.high) == pytest.approx(its.confidence_interval, abs=0.01)
    assert found.better == pytest.approx(np.mean(its.bootstrap_distribution > 0), abs=0.03)


def test_intervals_of_numbers_are_scipys_up_to_chance() -> None:
    random = np.random.default_rng(3)
    actual = random.normal(size=80)
    predicted = actual + random.normal(size=80)
    columns = pl.DataFrame({"predicted": predicted, "actual": actual})
    found = bootstrap({name: Statistic(name, columns) for name in ("pearson", "r2")}, MANY)
    its = scipys(
        (predicted, actual),
        lambda x, y: np.corrcoef(x, y)[0, 1],
        paired=True,
        vectorized=False,
        n_resamples=5000,
        method="percentile",
        rng=np.random.default_rng(5),
    )
    assert (found["pearson"].low, found["pearson"].high) == pytest.approx(its.confidence_interval, abs=0.01)


def test_resamples_of_equal_numbers_say_nothing_of_variance() -> None:
    random = np.random.default_rng(4)
    actual = np.array([5.1] * 29 + [1.3])
    columns = pl.DataFrame({"predicted": actual + random.normal(0, 0.1, 30), "actual": actual})
    # a third of the resamples have no other number than 5.1
    found = bootstrap({name: Statistic(name, columns) for name in ("pearson", "r2")}, PARAMS)
    for its in found.values():
        assert -1 <= its.low <= its.value <= its.high <= 1
    alike = columns.with_columns(actual=pl.lit(5.1))
    assert np.isnan(bootstrap({"r2": Statistic("r2", alike)}, PARAMS)["r2"].high)


# the same bits


THREADS = """
import numpy as np, polars as pl, sys
from pathlib import Path
from tasks.shared.bootstrap import bootstrap, by_slice, paired
from tasks.shared.measured import Measured, write
from tasks.shared.params import Evaluate
from tasks.shared.statistics import Statistic, classification
random = np.random.default_rng(0)
rows = 5_000
actual = random.integers(0, 30, rows)
mine, other = (np.where(random.random(rows) < right, actual, random.integers(0, 30, rows)) for right in (0.8, 0.7))
labels = [f"label {number}" for number in range(30)]
mine, other = (classification(one, actual, labels, random.uniform(0.1, 1, rows)) for one in (mine, other))
pair = pl.DataFrame({"predicted": random.normal(size=rows), "actual": random.normal(size=rows)})
mine["pearson"] = other["pearson"] = Statistic("pearson", pair.rename({"predicted": "x", "actual": "y"}))
groups = pl.Series([f"group {number}" for number in random.integers(0, 500, rows)])
params = Evaluate(n_resamples=100)
slices = pl.DataFrame({"group": groups.str.slice(0, 7)})
sys.stdout.write(repr([bootstrap(mine, params), bootstrap(mine, params, groups), paired(mine, other, params)]))
sys.stdout.write(repr(by_slice(mine, slices, params).rows()))
write(Measured(groups, mine, groups, slices), Path(sys.argv[1]))
"""


def test_threads_change_no_bit(tmp_path: Path) -> None:
    told = []
    for threads in ("1", "2"):
        file = tmp_path / f"{threads}.arrow"
        counts = {"OMP_NUM_THREADS": threads, "OPENBLAS_NUM_THREADS": threads, "POLARS_MAX_THREADS": threads}
        command = [sys.executable, "-c", THREADS, str(file)]
        done = subprocess.run(command, env=os.environ | counts, cwd=ROOT, capture_output=True, check=True)
        told.append((done.stdout, file.read_bytes()))
    assert told[0] == told[1]
    assert b"pearson" in told[0][0]


def test_the_bootstrap_is_the_same_every_time_and_another_with_another_seed() -> None:
    statistics = of(*draw(0))
    assert bootstrap(statistics, PARAMS) == bootstrap(statistics, PARAMS)
    assert bootstrap(statistics, PARAMS) != bootstrap(statistics, PARAMS.model_copy(update={"seed": 1}))


def test_how_many_resamples_are_drawn_at_once_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    statistics = of(*draw(0))
    at_once = bootstrap(statistics, PARAMS)
    monkeypatch.setattr("tasks.shared.bootstrap.AT_ONCE", 7 * 60)
    assert bootstrap(statistics, PARAMS) == at_once


def test_metrics_measured_together_are_those_measured_alone() -> None:
    statistics = of(*draw(0))
    together = bootstrap(statistics, PARAMS)
    for name, statistic in statistics.items():
        assert bootstrap({name: statistic}, PARAMS)[name] == pytest.approx(together[name], rel=1e-12)


# what intervals say


def test_a_higher_level_gives_a_wider_interval() -> None:
    statistics = of(*draw(0))
    params = [PARAMS.model_copy(update={"confidence_level": level}) for level in (0.8, 0.99)]
    levels = [bootstrap(statistics, some) for some in params]
    for narrow, wide in zip(*(level.values() for level in levels), strict=True):
        assert wide.low <= narrow.low <= narrow.high <= wide.high


def test_a_perfect_score_and_a_single_row_have_an_interval() -> None:
    right = np.zeros(10, int)
    assert bootstrap(of(right, right, np.ones(10)), PARAMS)["macro_f1"] == (1, 1, 1)
    assert bootstrap(of(right[:1], right[:1], np.ones(1)), PARAMS)["accuracy"] == (1, 1, 1)


def test_resamples_without_a_value_are_left_out() -> None:
    edits = pl.DataFrame({"edits": [1, 0, 0], "words": [4, 0, 0]})
    assert bootstrap({"it": Statistic("word_error_rate", edits)}, PARAMS)["it"] == (0.25, 0.25, 0.25)
    nothing = bootstrap({"it": Statistic("word_error_rate", edits[1:])}, PARAMS)["it"]
    assert np.isnan(nothing).all()


def test_groups_are_resampled_whole() -> None:
    random = np.random.default_rng(0)
    correct = np.repeat(random.random(50) < 0.6, 20)
    groups = pl.Series([f"speaker {number}" for number in np.repeat(np.arange(50), 20)])
    statistics = {"accuracy": Statistic("accuracy", pl.DataFrame({"correct": correct}))}
    of_rows = bootstrap(statistics, PARAMS)["accuracy"]
    of_groups = bootstrap(statistics, PARAMS, groups)["accuracy"]
    assert of_groups.value == of_rows.value
    # as if there were 50 rows, which there are but for repetition
    alone = {"accuracy": Statistic("accuracy", pl.DataFrame({"correct": correct[::20]}))}
    once = bootstrap(alone, MANY)["accuracy"]
    assert (of_groups.low, of_groups.high) == pytest.approx((once.low, once.high), abs=0.04)
    assert of_groups.high - of_groups.low > 3 * (of_rows.high - of_rows.low)


def test_groups_of_one_row_are_rows() -> None:
    statistics = of(*draw(0))
    groups = pl.Series([f"{number:03}" for number in range(60)])
    of_groups, of_rows = bootstrap(statistics, PARAMS, groups), bootstrap(statistics, PARAMS)
    for name in statistics:
        assert of_groups[name] == pytest.approx(of_rows[name], rel=1e-12)


def test_the_interval_of_the_calibration_error_holds_the_true_one() -> None:
    # of 100 intervals at 95 %; `python -m tests.support.coverage` draws more of them, of more kinds
    for temperature in (1, 1.5):
        found = covered("sharp", temperature, 300, data_sets=100, params=Evaluate(n_resamples=200))
        assert found.inside >= 0.88


# differences


def test_the_difference_of_a_model_from_itself_is_nothing() -> None:
    statistics = of(*draw(0))
    for difference in paired(statistics, statistics, PARAMS).values():
        assert difference == Difference(0, 0, 0, 0)


def test_a_paired_difference_is_surer_than_two_intervals() -> None:
    predicted, actual, confidence = draw(0, rows=400)
    better = np.where(np.random.default_rng(1).random(400) < 0.1, actual, predicted)
    mine, other = of(better, actual, confidence), of(predicted, actual, confidence)
    found = paired(mine, other, PARAMS)["accuracy"]
    assert found.low > 0
    assert found.better == 1
    alone, its = (bootstrap(statistics, PARAMS)["accuracy"] for statistics in (mine, other))
    # the two intervals could not have told
    assert alone.low < its.high


def test_less_is_better_where_a_metric_is_an_error() -> None:
    frames = [pl.DataFrame({"edits": [edits] * 20, "words": [10] * 20}) for edits in (1, 2)]
    mine, other = ({"word_error_rate": Statistic("word_error_rate", frame)} for frame in frames)
    assert paired(mine, other, PARAMS)["word_error_rate"] == pytest.approx((-0.1, -0.1, -0.1, 1))
    assert paired(other, mine, PARAMS)["word_error_rate"].better == 0


def test_only_metrics_of_both_are_compared() -> None:
    predicted, actual, confidence = draw(0)
    without = classification(predicted, actual, LABELS)
    assert set(paired(of(predicted, actual, confidence), without, PARAMS)) == {
        "accuracy",
        "macro_f1",
        "weighted_f1",
    }


def test_differences_are_those_of_the_same_groups() -> None:
    predicted, actual, confidence = draw(0)
    groups = pl.Series(np.repeat([f"{number}" for number in range(6)], 10))
    other = np.roll(predicted, 1)
    found = paired(of(predicted, actual, confidence), of(other, actual, confidence), PARAMS, groups)
    assert found["accuracy"].low <= found["accuracy"].value <= found["accuracy"].high


# slices


def test_a_slice_is_measured_as_if_it_were_all_rows() -> None:
    predicted, actual, confidence = draw(0)
    statistics = of(predicted, actual, confidence)
    sources = ["x"] * 50 + [None] * 10
    slices = pl.DataFrame({"label": [LABELS[number] for number in actual], "source": sources})
    table = by_slice(statistics, slices, PARAMS)
    inside = actual == 2
    line = table.row(by_predicate=(pl.col("slice") == "label") & (pl.col("value") == "c"), named=True)
    alone = bootstrap(of(predicted[inside], actual[inside], confidence[inside]), PARAMS)
    assert line["rows"] == inside.sum()
    for name, estimate in alone.items():
        assert (line[name], line[f"{name}_low"], line[f"{name}_high"]) == pytest.approx(estimate)
    assert table["rows"].to_list() == [*sorted(table["rows"][:4], reverse=True), 50, 10]
    assert table.filter(slice="source")["value"].to_list() == ["x", None]


def test_slices_keep_to_their_groups_and_leave_out_what_is_not_defined() -> None:
    columns = pl.DataFrame({"predicted": [1.0, 2.0, 3.0], "actual": [1.0, 3.0, 2.0]})
    statistics = {"r2": Statistic("r2", columns)}
    slices = pl.DataFrame({"kind": ["many", "many", "one"]})
    table = by_slice(statistics, slices, PARAMS, pl.Series(["a", "a", "b"]))
    assert table.rows() == [("kind", "many", 2, 0.5, 0.5, 0.5), ("kind", "one", 1, None, None, None)]


def test_no_slice_is_an_empty_table() -> None:
    table = by_slice(of(*draw(0)), pl.DataFrame(), PARAMS)
    assert table.height == 0
    assert table.columns[:4] == ["slice", "value", "rows", "accuracy"]
