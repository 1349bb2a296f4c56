"""Metrics of sums against scikit-learn, scipy and values worked out by hand; what a metric cannot use is refused."""

from typing import Any

import numpy as np
import polars as pl
import pytest
from scipy.stats import pearsonr
from sklearn.metrics import (
    accuracy_score,
    f1_score,
    mean_absolute_error,
    mean_squared_error,
    precision_recall_fscore_support,
    r2_score,
)

from tasks.shared.errors import InputError
from tasks.shared.statistics import (
    METRICS,
    Metric,
    Statistic,
    classification,
    per_label,
    reliability,
    take,
    values,
)


def draw(seed: int, rows: int = 200, labels: int = 5, right: float = 0.7) -> tuple[np.ndarray, np.ndarray]:
    """Return predicted and actual label numbers; the last label is never actual, the one before it never predicted."""
    random = np.random.default_rng(seed)
    actual = random.integers(0, labels - 1, rows)
    predicted = np.where(random.random(rows) < right, actual, random.integers(0, labels, rows))
    return np.where(predicted == labels - 2, 0, predicted), actual


def names(labels: int) -> list[str]:
    return [f"label {number}" for number in range(labels)]


def value(metric: str, **columns: Any) -> float:
    return values({"it": Statistic(metric, pl.DataFrame(columns))})["it"]


def labelled(labels: str, *rows: Any) -> pl.Series:
    """Return labels, or lists of them."""
    several = any(isinstance(row, list) for row in rows)
    enum = pl.Enum(list(labels))
    return pl.Series(rows, dtype=pl.List(enum) if several else enum)


# accuracy and F1


@pytest.mark.parametrize("labels", [3, 7, 9, 40, 150])
def test_scores_are_those_of_scikit_learn_to_the_last_bit(labels: int) -> None:
    for seed in range(20):
        predicted, actual = draw(seed, rows=20 + 40 * seed, labels=labels, right=seed / 20)
        present = np.unique(actual)
        expected = {"accuracy": float(accuracy_score(actual, predicted))}
        for average in ("macro", "weighted"):
            f1 = f1_score(actual, predicted, labels=present, average=average, zero_division=0)
            expected[f"{average}_f1"] = float(f1)
        assert values(classification(predicted, actual, names(labels))) == expected


def test_scores_per_label_are_those_of_scikit_learn_to_the_last_bit() -> None:
    predicted, actual = draw(0)
    found = per_label(classification(predicted, actual, names(5))["macro_f1"])
    columns = precision_recall_fscore_support(actual, predicted, labels=range(5), zero_division=0)
    parts = ("precision", "recall", "f1", "support")
    for number, label in enumerate(names(5)):
        assert found[label] == {part: column[number] for part, column in zip(parts, columns, strict=True)}
    assert list(found) == names(5)


def test_a_label_without_a_row_is_left_out_of_macro_f1() -> None:
    found = values(classification(np.array([0, 0, 1, 2]), np.array([0, 1, 1, 0]), names(4)))
    # label 0: precision 1/2, recall 1/2; label 1: precision 1, recall 1/2; labels 2 and 3 have no row
    assert found["macro_f1"] == pytest.approx((1 / 2 + 2 / 3) / 2)
    assert found["weighted_f1"] == pytest.approx((1 / 2 + 2 / 3) / 2)
    assert found["accuracy"] == 0.5


def test_f1_of_rows_with_several_labels_is_scikit_learns() -> None:
    random = np.random.default_rng(0)
    sets = {name: random.random((60, 4)) < 0.4 for name in ("predicted", "actual")}
    columns = {}
    for name, has in sets.items():
        columns[name] = labelled("abcd", *[["abcd"[number] for number in np.flatnonzero(row)] for row in has])
    for average in ("macro", "weighted", "micro"):
        expected = f1_score(sets["actual"], sets["predicted"], average=average, zero_division=0)
        assert value(f"{average}_f1", **columns) == pytest.approx(expected)


def test_f1_of_each_row_is_scikit_learns_where_a_row_without_labels_is_right_to_have_none() -> None:
    random = np.random.default_rng(1)
    sets = {name: random.random((60, 4)) < 0.3 for name in ("predicted", "actual")}
    columns = {}
    for name, has in sets.items():
        columns[name] = labelled("abcd", *[["abcd"[number] for number in np.flatnonzero(row)] for row in has])
    assert (~sets["predicted"].any(axis=1) & ~sets["actual"].any(axis=1)).any()
    expected = f1_score(sets["actual"], sets["predicted"], average="samples", zero_division=1)
    assert value("samples_f1", **columns) == pytest.approx(expected)


def test_rows_with_no_label_and_labels_named_twice_are_sets() -> None:
    predicted, actual = labelled("ab", ["a", "a"], [], ["b"]), labelled("ab", ["a"], ["b"], [])
    assert value("micro_f1", predicted=predicted, actual=actual) == 2 * 1 / (2 + 2)


# others


def test_errors_of_numbers_are_scikit_learns() -> None:
    random = np.random.default_rng(0)
    actual = random.normal(1000, 3, 300)
    pair = {"predicted": actual + random.normal(0.5, 1, 300), "actual": actual}
    expected = {
        "mean_absolute_error": mean_absolute_error(actual, pair["predicted"]),
        "mean_squared_error": mean_squared_error(actual, pair["predicted"]),
        "root_mean_squared_error": mean_squared_error(actual, pair["predicted"]) ** 0.5,
        "r2": r2_score(actual, pair["predicted"]),
        "pearson": pearsonr(actual, pair["predicted"]).statistic,
    }
    assert {metric: value(metric, **pair) for metric in expected} == pytest.approx(expected, rel=1e-12)


def test_pearson_and_r2_keep_their_digits_where_numbers_are_large_and_near_each_other() -> None:
    actual = 1e9 + np.arange(50.0)
    pair = {"predicted": actual + np.tile([0.5, -0.5], 25), "actual": actual}
    assert value("r2", **pair) == pytest.approx(r2_score(actual, pair["predicted"]), rel=1e-12)
    assert value("pearson", **pair) == pytest.approx(pearsonr(actual, pair["predicted"]).statistic, rel=1e-9)


def test_ratios_of_sums_are_no_means_of_ratios() -> None:
    assert value("word_error_rate", edits=[1, 0, 3], words=[2, 10, 4]) == 4 / 16
    assert value("perplexity", nats=[6.0, 1.0], tokens=[3, 4]) == pytest.approx(np.exp(1))
    assert value("entity_f1", hits=[1, 0], predicted=[2, 1], actual=[1, 0]) == 2 * 1 / (3 + 1)
    assert value("mean", number=[0.25, 0.75]) == 0.5
    assert value("rate", hits=[1, 0, 0], of=[1, 1, 0]) == 0.5


def test_what_is_not_defined_is_no_finite_number() -> None:
    assert np.isnan(value("word_error_rate", edits=[0], words=[0]))
    assert np.isnan(value("rate", hits=[0], of=[0]))
    assert value("word_error_rate", edits=[2], words=[0]) == np.inf
    assert np.isnan(value("pearson", predicted=[1.0, 1.0], actual=[1.0, 2.0]))
    assert value("entity_f1", hits=[0], predicted=[0], actual=[0]) == 0


def test_whether_more_is_better_is_known_of_each() -> None:
    worse = {name for name, metric in METRICS.items() if not metric.higher_is_better}
    assert worse == {
        "calibration_error",
        "character_error_rate",
        "nats_per_character",
        "nats_per_token",
        "perplexity",
        "word_error_rate",
        "mean_absolute_error",
        "mean_squared_error",
        "root_mean_squared_error",
    }


def test_a_problem_may_bring_a_metric_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    within_one = Metric({"error": "number"}, METRICS["mean"].adds, METRICS["mean"].value)
    monkeypatch.setitem(METRICS, "within_one", within_one)
    assert value("within_one", error=[1.0, 0.0]) == 0.5


# calibration


def calibration(correct: Any, confidence: Any, groups: pl.Series | None = None) -> float:
    types = {"correct": pl.Boolean, "confidence": pl.Float64}
    columns = pl.DataFrame({"correct": correct, "confidence": confidence}, types)
    return values({"it": Statistic("calibration_error", columns)}, groups)["it"]


def test_calibration_error_worked_out_by_hand() -> None:
    # one bin: the mean of correct - confidence is -0.4, its variance over rows (4 times 0.25) / 3, of the mean a quarter of that
    correct, confidence = [True, False, False, True], [0.9375, 0.9375, 0.9375, 0.9375]
    assert calibration(correct, confidence) == pytest.approx(np.sqrt(0.4375**2 - 1 / 3 / 4))
    # two bins, weighted by rows: of residual 0 and of residual 0.5, both without any spread
    assert calibration([True] * 4, [1.0, 1.0, 0.5, 0.5]) == pytest.approx(np.sqrt((2 * 0 + 2 * 0.25) / 4))


def test_calibration_error_is_kumars_where_confidence_is_the_same_within_a_bin() -> None:
    random = np.random.default_rng(0)
    confidence = (random.integers(0, 15, 2000) + 0.5) / 15
    correct = random.random(2000) < confidence**1.5
    expected = 0.0
    for sure in np.unique(confidence):
        inside = correct[confidence == sure]
        share = inside.mean()
        expected += len(inside) / 2000 * ((share - sure) ** 2 - share * (1 - share) / (len(inside) - 1))
    assert calibration(correct, confidence) == pytest.approx(np.sqrt(expected))


def test_calibration_error_has_less_bias_than_the_plain_one() -> None:
    random = np.random.default_rng(0)
    squares, plain = [], []
    for _ in range(100):
        confidence = random.uniform(0.3, 1, 100)
        correct = random.random(100) < confidence
        squares.append(calibration(correct, confidence) ** 2)
        bins = reliability(pl.Series(correct), pl.Series(confidence))
        plain.append((bins["share"] * (bins["accuracy"] - bins["confidence"]).abs()).sum())
    # the true figure is 0
    assert np.mean(plain) > 0.08
    assert np.sqrt(np.median(squares)) < 0.03


def test_calibration_error_lies_between_none_and_certainty_that_is_wrong() -> None:
    assert calibration([True, True, False, True], [0.75] * 4) == 0
    assert calibration([True, True], [1.0, 1.0]) == 0
    assert calibration([False, False], [1.0, 1.0]) == 1
    # a single row says nothing of chance
    assert calibration([False], [0.9]) == 0


def test_rows_that_repeat_each_other_in_a_group_are_no_proof_of_miscalibration() -> None:
    random = np.random.default_rng(0)
    confidence = np.repeat(np.full(40, 0.7), 25)
    correct = np.repeat(random.random(40) < 0.7, 25)
    groups = pl.Series(np.repeat([f"speaker {number}" for number in range(40)], 25))
    once = calibration(correct[::25], confidence[::25])
    assert calibration(correct, confidence, groups) == pytest.approx(once)
    assert calibration(correct, confidence) >= once


def test_reliability_has_a_row_for_each_bin_that_has_one() -> None:
    # fifteen bins: 0.95 and 0.99 share the last one, 1 is in it too, 0.5 has one of its own
    found = reliability(pl.Series([True, False, True, True, False]), pl.Series([0.95, 0.99, 0.5, 0.5, 1.0]))
    assert found.columns == ["confidence_up_to", "share", "accuracy", "confidence"]
    expected = [(8 / 15, 0.4, 1, 0.5), (1, 0.6, 1 / 3, 2.94 / 3)]
    assert found.rows() == [pytest.approx(row) for row in expected]


def test_reliability_is_that_of_the_definition() -> None:
    random = np.random.default_rng(0)
    confidence = random.uniform(0.2, 1, 500)
    correct = random.random(500) < confidence
    found = reliability(pl.Series(correct), pl.Series(confidence))
    for edge, share, accuracy, sure in found.rows():
        inside = (confidence >= edge - 1 / 15) & (confidence < edge)
        assert (share, accuracy, sure) == pytest.approx(
            (inside.mean(), correct[inside].mean(), confidence[inside].mean()),
        )
    assert found["share"].sum() == pytest.approx(1)


# what is refused


@pytest.mark.parametrize(
    ("metric", "columns", "sentence"),
    [
        ("macro_f2", {"correct": [True]}, "no metric 'macro_f2'; did you mean 'macro_f1'"),
        ("accuracy", {"correct": [True], "more": [True]}, "accuracy takes correct, not correct, more"),
        ("accuracy", {"correct": [1]}, "'correct' holds Int64, which is no flag"),
        ("accuracy", {"correct": [True, None]}, "'correct' has no value in row 1"),
        (
            "mean",
            {"score": [1.0, float("nan")]},
            "'score' holds nan in row 1, where a finite number must stand",
        ),
        ("mean", {"score": [float("inf")]}, "'score' holds inf in row 0"),
        (
            "word_error_rate",
            {"edits": [0, -1], "words": [1, 1]},
            "'edits' holds -1 in row 1, where a count must stand",
        ),
        (
            "calibration_error",
            {"correct": [True], "confidence": [1.5]},
            "holds 1.5 in row 0, where a number from 0 to 1",
        ),
        ("calibration_error", {"correct": [True], "confidence": [float("nan")]}, "holds nan in row 0"),
        ("macro_f1", {"predicted": ["a"], "actual": ["a"]}, "'predicted' holds String, which is no label"),
        (
            "macro_f1",
            {"predicted": labelled("ab", "a"), "actual": labelled("abc", "a")},
            "'actual' has other labels than the column before it",
        ),
        (
            "macro_f1",
            {"predicted": labelled("ab", ["a", None]), "actual": labelled("ab", ["a"])},
            "where names of labels must stand",
        ),
    ],
)
def test_what_a_metric_cannot_use_is_named(metric: str, columns: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InputError) as caught:
        Statistic(metric, pl.DataFrame(columns))
    assert sentence in str(caught.value)


def test_statistics_of_some_rows_still_share_a_frame() -> None:
    statistics = classification(*draw(0), names(5))
    some = take(statistics, [3, 1])
    assert some["macro_f1"].columns is some["weighted_f1"].columns
    assert some["macro_f1"].columns.rows() == [statistics["macro_f1"].columns.row(row) for row in (3, 1)]
