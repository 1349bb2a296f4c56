"""Classification metrics as `evaluate.Metric`s that need no hub, and their bootstrap intervals. The only module that imports `evaluate`."""

from collections.abc import Callable, Sequence
from typing import Any

import datasets
import evaluate
import numpy as np
from sklearn.metrics import f1_score, precision_recall_fscore_support

from tasks.shared.params import Evaluate

Array = np.ndarray
BINS = 15  # Guo et al. 2017 use fifteen


class _Metric(evaluate.Metric):
    """A metric of (predictions, references), both label numbers."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(keep_in_memory=True, **kwargs)

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description=type(self).__doc__,
            citation="",
            features=datasets.Features({"predictions": datasets.Value("int64"), "references": datasets.Value("int64"), **self.more()}),
        )

    def more(self) -> dict[str, Any]:
        """Return further input columns."""
        return {}


class Accuracy(_Metric):
    """The share of rows whose predicted label is the true one."""

    def _compute(self, predictions: Sequence[int], references: Sequence[int]) -> dict[str, float]:
        return {"accuracy": float(np.mean(np.equal(predictions, references)))}


class F1(_Metric):
    """The harmonic mean of precision and recall: `macro_f1` every label alike, `weighted_f1` by its number of rows."""

    def _compute(self, predictions: Sequence[int], references: Sequence[int]) -> dict[str, float]:
        present = np.unique(references)  # a label without a row has no recall
        return {
            f"{average}_f1": float(f1_score(references, predictions, labels=present, average=average, zero_division=0))
            for average in ("macro", "weighted")
        }


class CalibrationError(_Metric):
    """How far confidence is from accuracy, over 15 equal bins, weighted by rows (Guo et al. 2017, arXiv 1706.04599)."""

    def more(self) -> dict[str, Any]:
        """Return the confidence column, the winning label's probability."""
        return {"confidences": datasets.Value("float64")}

    def _compute(self, predictions: Sequence[int], references: Sequence[int], confidences: Sequence[float]) -> dict[str, float]:
        return {"calibration_error": calibration_error(np.equal(predictions, references), np.asarray(confidences))}


def compute(predictions: Array, references: Array) -> dict[str, float]:
    """Return accuracy, macro_f1 and weighted_f1 of label numbers (n,)."""
    scores: dict[str, float] = evaluate.combine([Accuracy(), F1()]).compute(predictions=predictions, references=references)
    return scores


def calibration_error(correct: Array, confidence: Array) -> float:
    """Return the expected calibration error of `correct` (n,) bool and `confidence` (n,) in 0..1."""
    return float(sum(share * abs(accuracy - sure) for _, share, accuracy, sure in reliability(correct, confidence)))


def reliability(correct: Array, confidence: Array) -> list[tuple[float, float, float, float]]:
    """Return (upper edge, share of rows, accuracy, mean confidence) for each of 15 equal bins that holds a row."""
    bins = np.minimum((confidence * BINS).astype(int), BINS - 1)
    rows = []
    for bin_ in np.unique(bins):
        inside = bins == bin_
        rows.append(((bin_ + 1) / BINS, float(inside.mean()), float(correct[inside].mean()), float(confidence[inside].mean())))
    return rows


def classification(predicted: Array, actual: Array, confidence: Array, labels: Sequence[str], params: Evaluate) -> dict[str, Any]:
    """Return every test score of label numbers (n,) and confidences (n,): overall, intervals, and per class."""
    overall = compute(predicted, actual)
    overall |= CalibrationError().compute(predictions=predicted, references=actual, confidences=confidence)
    statistics: dict[str, Callable[[Array], float]] = {
        "accuracy": lambda rows: float(np.mean(predicted[rows] == actual[rows])),
        "macro_f1": lambda rows: _f1(predicted[rows], actual[rows], len(labels))[0],
        "weighted_f1": lambda rows: _f1(predicted[rows], actual[rows], len(labels))[1],
        "calibration_error": lambda rows: calibration_error(predicted[rows] == actual[rows], confidence[rows]),
    }
    precision, recall, f1, support = precision_recall_fscore_support(actual, predicted, labels=range(len(labels)), zero_division=0)
    return {
        "rows": len(actual),
        **overall,
        "interval": {name: interval(statistic, len(actual), params) for name, statistic in statistics.items()},
        "per_class": {
            label: {"precision": float(precision[i]), "recall": float(recall[i]), "f1": float(f1[i]), "support": int(support[i])}
            for i, label in enumerate(labels)
        },
    }


def _f1(predicted: Array, actual: Array, num_labels: int) -> tuple[float, float]:
    """Return macro and weighted F1 as F1 does, from counts: a thousand resamples take seconds with scikit-learn."""
    hits = np.bincount(actual[predicted == actual], minlength=num_labels)
    support = np.bincount(actual, minlength=num_labels)
    f1 = 2 * hits / np.maximum(support + np.bincount(predicted, minlength=num_labels), 1)
    return float(f1[support > 0].mean()), float((f1 * support).sum() / support.sum())


def interval(statistic: Callable[[Array], float], num_rows: int, params: Evaluate) -> list[float]:
    """Return the percentile bootstrap interval of `statistic`, a function of row numbers (Efron 1979)."""
    from scipy.stats import bootstrap

    if num_rows < 2:  # noqa: PLR2004 (nothing to resample)
        return [statistic(np.arange(num_rows))] * 2
    found = bootstrap(
        (np.arange(num_rows),),
        statistic,
        vectorized=False,
        method="percentile",
        n_resamples=params.n_resamples,
        confidence_level=params.confidence_level,
        rng=np.random.default_rng(params.seed),
    )
    return [float(found.confidence_interval.low), float(found.confidence_interval.high)]
