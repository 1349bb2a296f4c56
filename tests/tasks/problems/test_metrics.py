"""Scores against scikit-learn, against values worked out by hand, and the same intervals every time."""

from collections.abc import Callable
from itertools import pairwise

import evaluate
import numpy as np
import polars as pl
import pytest
from sklearn.metrics import accuracy_score, f1_score, precision_recall_fscore_support

from tasks import problems
from tasks.problems.common.metrics import F1, Accuracy, CalibrationError, _f1, calibration_error, classification, compute, interval, reliability
from tasks.shared.params import Evaluate

PARAMS = Evaluate(n_resamples=200)


def draw(seed: int, rows: int = 200, labels: int = 5, right: float = 0.7) -> tuple[np.ndarray, np.ndarray]:
    """Return predicted and actual label numbers; the last label is never actual, the one before it never predicted."""
    random = np.random.default_rng(seed)
    actual = random.integers(0, labels - 1, rows)
    predicted = np.where(random.random(rows) < right, actual, random.integers(0, labels, rows))
    return np.where(predicted == labels - 2, 0, predicted), actual


def sklearn_f1(predicted: np.ndarray, actual: np.ndarray, average: str) -> float:
    return float(f1_score(actual, predicted, labels=np.unique(actual), average=average, zero_division=0))


# overall scores


def test_accuracy_and_f1_are_scikit_learns() -> None:
    for seed in range(5):
        predicted, actual = draw(seed)
        scores = compute(predicted, actual)
        assert scores == pytest.approx(
            {
                "accuracy": accuracy_score(actual, predicted),
                "macro_f1": sklearn_f1(predicted, actual, "macro"),
                "weighted_f1": sklearn_f1(predicted, actual, "weighted"),
            }
        )


def test_the_fast_f1_is_scikit_learns() -> None:
    for seed in range(50):
        predicted, actual = draw(seed, rows=2 + seed, labels=3 + seed % 7, right=seed / 50)
        expected = (sklearn_f1(predicted, actual, "macro"), sklearn_f1(predicted, actual, "weighted"))
        assert _f1(predicted, actual, 3 + seed % 7) == pytest.approx(expected, abs=1e-12)


def test_scores_worked_out_by_hand() -> None:
    predicted, actual = np.array([0, 0, 1, 2]), np.array([0, 1, 1, 0])
    # label 0: precision 1/2, recall 1/2; label 1: precision 1, recall 1/2; label 2 has no row
    scores = compute(predicted, actual)
    assert scores["accuracy"] == 0.5
    assert scores["macro_f1"] == pytest.approx((1 / 2 + 2 / 3) / 2)
    assert scores["weighted_f1"] == pytest.approx((1 / 2 + 2 / 3) / 2)


def test_the_metrics_are_evaluates_and_need_no_hub() -> None:
    predicted, actual = draw(0)
    for metric in (Accuracy(), F1(), CalibrationError()):
        assert isinstance(metric, evaluate.Metric)
    metric = Accuracy()
    for start in range(0, 200, 50):
        metric.add_batch(predictions=predicted[start : start + 50], references=actual[start : start + 50])
    assert metric.compute() == {"accuracy": accuracy_score(actual, predicted)}


# calibration


def test_calibration_error_worked_out_by_hand() -> None:
    # fifteen bins: 0.95 and 0.99 share the last one, 0.5 has one of its own
    correct, confidence = np.array([True, False, True, True]), np.array([0.95, 0.99, 0.5, 0.5])
    expected = 2 / 4 * abs(1 / 2 - 0.97) + 2 / 4 * abs(1 - 0.5)
    assert calibration_error(correct, confidence) == pytest.approx(expected)
    assert [(round(edge * 15), share, accuracy, sure) for edge, share, accuracy, sure in reliability(correct, confidence)] == [
        (8, 0.5, 1.0, 0.5),
        (15, 0.5, 0.5, pytest.approx(0.97)),
    ]


def test_a_model_that_is_as_sure_as_it_is_right_has_no_calibration_error() -> None:
    assert calibration_error(np.array([True, True, False, True]), np.full(4, 0.75)) == pytest.approx(0)
    assert calibration_error(np.array([True, True]), np.array([1.0, 1.0])) == 0


def test_certainty_that_is_wrong_is_the_largest_calibration_error() -> None:
    assert calibration_error(np.array([False, False]), np.array([1.0, 1.0])) == 1


def test_calibration_error_is_that_of_the_definition() -> None:
    random = np.random.default_rng(0)
    confidence = random.uniform(0.2, 1, 500)
    correct = random.random(500) < confidence
    edges = np.linspace(0, 1, 16)
    expected = 0.0
    for low, high in pairwise(edges):
        inside = (confidence >= low) & (confidence < high)
        if inside.any():
            expected += inside.mean() * abs(correct[inside].mean() - confidence[inside].mean())
    assert calibration_error(correct, confidence) == pytest.approx(expected)
    assert sum(share for _, share, _, _ in reliability(correct, confidence)) == pytest.approx(1)


# intervals


def accuracy_of(predicted: np.ndarray, actual: np.ndarray) -> Callable[[np.ndarray], float]:
    return lambda rows: float(np.mean(predicted[rows] == actual[rows]))


def test_the_bootstrap_is_the_same_every_time_and_another_with_another_seed() -> None:
    statistic = accuracy_of(*draw(0))
    first, again = interval(statistic, 200, PARAMS), interval(statistic, 200, PARAMS)
    assert first == again
    assert first != interval(statistic, 200, PARAMS.model_copy(update={"seed": 1}))


def test_the_bootstrap_interval_of_accuracy_is_near_the_normal_one() -> None:
    predicted, actual = draw(0, rows=400)
    low, high = interval(accuracy_of(predicted, actual), 400, Evaluate(n_resamples=2000))
    share = np.mean(predicted == actual)
    half = 1.96 * np.sqrt(share * (1 - share) / 400)
    assert (low, high) == pytest.approx((share - half, share + half), abs=0.01)


def test_a_higher_level_gives_a_wider_interval() -> None:
    statistic = accuracy_of(*draw(0))
    narrow, wide = (interval(statistic, 200, PARAMS.model_copy(update={"confidence_level": level})) for level in (0.8, 0.99))
    assert wide[0] < narrow[0] < narrow[1] < wide[1]


def test_a_perfect_score_and_a_single_row_have_an_interval() -> None:
    actual = np.zeros(10, int)
    assert interval(accuracy_of(actual, actual), 10, PARAMS) == [1.0, 1.0]
    assert interval(accuracy_of(actual, actual), 1, PARAMS) == [1.0, 1.0]


# the whole


def test_every_test_score_is_there_and_inside_its_interval() -> None:
    predicted, actual = draw(3)
    labels = ["a", "b", "c", "d", "never seen"]
    scores = classification(predicted, actual, np.linspace(0.3, 1, 200), labels, PARAMS)
    assert scores["rows"] == 200
    assert list(scores["interval"]) == ["accuracy", "macro_f1", "weighted_f1", "calibration_error"]
    for name in ("accuracy", "macro_f1", "weighted_f1"):
        low, high = scores["interval"][name]
        assert low < scores[name] < high
    expected = precision_recall_fscore_support(actual, predicted, labels=range(5), zero_division=0)
    found = [[scores["per_class"][label][part] for label in labels] for part in ("precision", "recall", "f1", "support")]
    assert np.allclose(found, expected)
    assert scores == classification(predicted, actual, np.linspace(0.3, 1, 200), labels, PARAMS)


def test_scores_from_logits_name_labels_and_give_their_probability() -> None:
    problem = problems.load("text_classification")
    rows = pl.DataFrame({"id": ["1", "2", "3"], "text": ["x", "y", "z"], "label": ["b", "a", "b"]})
    logits = np.array([[0, 1], [0, np.log(3)], [1000, 1003]], np.float32)
    scored = problem.score(logits, rows, ["a", "b"], PARAMS)
    assert scored.predictions.rows()[1][:3] == ("2", "a", "b")
    assert scored.predictions["confidence"].to_list() == pytest.approx([1 / (1 + np.exp(-1)), 0.75, 1 / (1 + np.exp(-3))])
    assert scored.metrics["accuracy"] == pytest.approx(2 / 3)


def test_the_majority_baseline_says_the_most_frequent_label() -> None:
    problem = problems.load("text_classification")
    train = pl.DataFrame({"text": ["red apple", "red cherry", "blue sea", "red rose"], "label": ["r", "r", "b", "r"]})
    test = pl.DataFrame({"text": ["red wine", "blue sky"], "label": ["r", "b"]})
    baselines = problem.baselines(train, test, ["b", "r"])
    assert baselines["majority"]["accuracy"] == 0.5
    assert baselines["tfidf_linear"]["accuracy"] == 1.0
