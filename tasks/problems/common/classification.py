"""What problems share that give one label to each row, whatever a row is."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from tasks.problems import Loss, Prediction, Problem, Targets
from tasks.problems.common.predicting import answers
from tasks.shared.params import Train
from tasks.shared.statistics import Statistics, classification

if TYPE_CHECKING:
    from datasets import Dataset
    from matplotlib.figure import Figure
    from transformers import PreTrainedModel

# other batches sum in another order
SAME_SCORE = 1e-3
METRICS = ("accuracy", "macro_f1", "weighted_f1", "calibration_error")


class Classification(Problem):
    """A problem whose one target, `label`, is a category; its own params say `calibration`."""

    metrics: tuple[str, ...] = METRICS
    headline = "macro_f1"
    smooths = True

    def learn_targets(self, train: pl.DataFrame) -> Targets:
        """Return the labels in a fixed order: by number when all are numbers, else by spelling."""
        names: list[str] = train["label"].unique().to_list()
        with suppress(ValueError):
            return {"labels": sorted(names, key=lambda name: (int(name), name))}
        return {"labels": sorted(names)}

    def loss(self, train: pl.DataFrame, targets: Targets, params: Train) -> Loss | None:
        """Return cross entropy, each label weighed by how rare it is in train."""
        from tasks.problems.common import losses

        if params.class_weights == "none":
            return None
        counts = np.bincount(numbers(train["label"], targets), minlength=len(targets["labels"]))
        return losses.CrossEntropy(losses.balanced(counts), params.label_smoothing_factor)

    def predict(
        self,
        model: "PreTrainedModel",
        processor: Any,
        batch: Mapping[str, Any],
        targets: Targets,
        logits: Any = None,
    ) -> list[Prediction]:
        """Return the likeliest label and its probability; NaN where an answer is no finite number."""
        found = answers(model, batch, logits)
        with np.errstate(invalid="ignore"):
            odds = np.exp(found.astype(np.float64) - found.max(axis=1, keepdims=True))
            shares = (odds / odds.sum(axis=1, keepdims=True)).max(axis=1)
        confidence = np.where(np.isfinite(found).all(axis=1), shares, np.nan)
        labels = [targets["labels"][number] for number in found.argmax(axis=1)]
        pairs = zip(labels, confidence.tolist(), strict=True)
        return [{"predicted": label, "confidence": share} for label, share in pairs]

    def calibrate(
        self,
        checkpoint: Path,
        validation: "Dataset",
        rows: pl.DataFrame,
        targets: Targets,
    ) -> dict[str, Any]:
        """Divide the model's logits by the temperature with which validation is likeliest.

        By 1 where its head does not take that.
        """
        from tasks.problems.common import heads

        if self.params.calibration == "none":
            return {}
        processor = self.load_processor(checkpoint)
        model, _ = self.model(checkpoint, processor, targets)
        collate = self.collator(processor)
        before = heads.logits(model, collate, validation)
        temperature = heads.temperature(before, numbers(rows["label"], targets))
        if not heads.divide(model, temperature, collate, validation, before):
            kind = f"the head of a {type(model).__name__} ends with no layer that can be divided"
            print(f"warning: calibration: {kind}; it stays as sure as it is", flush=True)
            return {"temperature": 1.0}
        model.save_pretrained(checkpoint)
        return {"temperature": temperature}

    def measure(self, predictions: pl.DataFrame, rows: pl.DataFrame, targets: Targets) -> Statistics:
        """Return accuracy, macro and weighted F1, and where there is a confidence, the calibration error."""
        predicted, actual = numbers(predictions["predicted"], targets), numbers(rows["label"], targets)
        has_confidence = "confidence" in predictions.columns
        confidence = predictions["confidence"].to_numpy() if has_confidence else None
        return classification(predicted, actual, targets["labels"], confidence)

    def baselines(self, train: pl.DataFrame, test: pl.DataFrame, targets: Targets) -> dict[str, pl.DataFrame]:
        """Return the most frequent label for every row; the first of several."""
        counts = np.bincount(numbers(train["label"], targets), minlength=len(targets["labels"]))
        return {"majority": pl.DataFrame({"predicted": [targets["labels"][counts.argmax()]] * test.height})}

    def draw(self, predictions: pl.DataFrame, rows: pl.DataFrame, targets: Targets) -> "dict[str, Figure]":
        """Draw what is taken for what, and how often each confidence is right."""
        from tasks.problems.common import figures

        correct = predictions["predicted"] == rows["label"]
        return {
            "confusion_matrix": figures.confusion_matrix(
                predictions["predicted"], rows["label"], targets["labels"]
            ),
            "reliability": figures.reliability(correct, predictions["confidence"]),
        }

    def galleries(
        self, told: pl.DataFrame, predictions: pl.DataFrame, column: str, picture: Callable[[str], Any]
    ) -> "dict[str, Figure]":
        """Draw files from all over the rows, and the surest mistakes; see figures.galleries.

        told: of each row the file, `label`, and what was asked about it.
        """
        from tasks.problems.common import figures

        told = told.rename({"label": "actual"}).with_columns(predictions)
        wrong = told.filter(pl.col("predicted") != pl.col("actual"))
        # of equal confidence, as their rows stand, on however many cores they are sorted
        wrong = wrong.sort("confidence", descending=True, maintain_order=True)
        return figures.galleries({"samples": figures.spread(told), "mistakes": wrong}, column, picture)

    def agrees(self, served: Any, predicted: Prediction) -> bool:
        """Return whether the label is the same and the probability nearly.

        served: what a pipeline answers: one label, or a list of those with the highest scores.
        """
        first = served[0] if isinstance(served, list) else served
        difference: float = abs(first["score"] - float(predicted["confidence"]))
        return bool(first["label"] == predicted["predicted"] and difference <= SAME_SCORE)


def numbers(labels: pl.Series, targets: Targets) -> np.ndarray:
    """Return the number of each label, (n,)."""
    number = {label: position for position, label in enumerate(targets["labels"])}
    return np.array([number[label] for label in labels])
