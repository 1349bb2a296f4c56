"""One label per text, or per pair of texts: intents, topics, sentiment, entailment.

Served by the `text-classification` pipeline.
"""

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from tasks.problems import Loss, Prediction, Targets
from tasks.problems.common.text import TEXTS, TextProblem, answers, joined
from tasks.problems.text_classification.params import Own
from tasks.shared.columns import Column
from tasks.shared.errors import InputError, did_you_mean
from tasks.shared.params import Train
from tasks.shared.statistics import Statistic, Statistics, classification

if TYPE_CHECKING:
    import pyarrow as pa
    from datasets import Dataset
    from matplotlib.figure import Figure
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

SAME_SCORE = 1e-3  # other batches sum in another order


class TextClassification(TextProblem):
    """Rows are (text, label), or (text, text_pair, label)."""

    columns: Mapping[str, Column] = {**TEXTS, "label": Column("category", "target")}
    examples = (
        {"text": "the courier says delivered but my porch is empty", "label": "parcel_not_received"},
        {"text": "a man plays a guitar", "text_pair": "somebody makes music", "label": "entailment"},
    )
    headline = "macro_f1"

    def __init__(self, params: Any = None) -> None:
        """Know the metrics that the params ask for."""
        super().__init__(params or Own())
        scope = ("in_scope_accuracy", "out_of_scope_recall") if self.params.out_of_scope else ()
        self.metrics = ("accuracy", "macro_f1", "weighted_f1", "calibration_error", *scope)

    def learn_targets(self, train: pl.DataFrame) -> Targets:
        """Return the labels in a fixed order: by number when all are numbers, else by spelling."""
        names: list[str] = train["label"].unique().to_list()
        out = self.params.out_of_scope
        if out and out not in names:
            missing = f"no train row has the label '{out}'{did_you_mean(out, names) or '.'}"
            raise InputError(f"text_classification.out_of_scope: {missing}")
        with suppress(ValueError):
            return {"labels": sorted(names, key=lambda name: (int(name), name))}
        return {"labels": sorted(names)}

    def labels(self, rows: pl.DataFrame, targets: Targets) -> "pa.Array":
        """Return the number of each row's label, int64."""
        import pyarrow as pa

        return pa.array(numbers(rows["label"], targets), pa.int64())

    def model(
        self, base: Path, processor: "PreTrainedTokenizerBase", targets: Targets
    ) -> "tuple[PreTrainedModel, list[str]]":
        """Load a sequence classifier in fp32; what its folder lacks is drawn from the current torch seed."""
        from tasks.problems.common import pretrained

        return pretrained.classifier(base, processor, targets["labels"])

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
        processor: "PreTrainedTokenizerBase",
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
        """Divide the model's logits by the temperature with which validation is likeliest."""
        from tasks.problems.common import heads

        if self.params.calibration == "none":
            return {}
        processor = self.load_processor(checkpoint)
        model, _ = self.model(checkpoint, processor, targets)
        before = heads.logits(model, self.collator(processor), validation)
        temperature = heads.temperature(before, numbers(rows["label"], targets))
        heads.rescale(model, 1 / temperature)
        model.save_pretrained(checkpoint)
        return {"temperature": temperature}

    def measure(self, predictions: pl.DataFrame, rows: pl.DataFrame, targets: Targets) -> Statistics:
        """Return accuracy, macro and weighted F1, and where there is a confidence, the calibration error.

        Where there is a class of what is out of scope: its recall, and the accuracy on the rows of all others
        (Larson et al. 2019).
        """
        predicted, actual = numbers(predictions["predicted"], targets), numbers(rows["label"], targets)
        has_confidence = "confidence" in predictions.columns
        confidence = predictions["confidence"].to_numpy() if has_confidence else None
        found = classification(predicted, actual, targets["labels"], confidence)
        if self.params.out_of_scope:
            out = actual == targets["labels"].index(self.params.out_of_scope)
            for scope, metric, counted in (("in", "accuracy", ~out), ("out_of", "recall", out)):
                right = {f"{scope}_scope_hits": (predicted == actual) & counted, f"{scope}_scope": counted}
                found[f"{scope}_scope_{metric}"] = Statistic("rate", pl.DataFrame(right).cast(pl.Int64))
        return found

    def baselines(self, train: pl.DataFrame, test: pl.DataFrame, targets: Targets) -> dict[str, pl.DataFrame]:
        """Return the most frequent label, and what TF-IDF (words 1-2, letters 2-5) with a linear SVM says."""
        from sklearn.dummy import DummyClassifier
        from sklearn.svm import LinearSVC

        from tasks.problems.common.baselines import tfidf

        models = {
            "majority": DummyClassifier(strategy="most_frequent"),
            "tfidf_linear": tfidf(LinearSVC(random_state=0)),
        }
        found = {}
        for name, model in models.items():
            model.fit(joined(train, self.columns), numbers(train["label"], targets))
            answered = model.predict(joined(test, self.columns))
            found[name] = pl.DataFrame({"predicted": [targets["labels"][number] for number in answered]})
        return found

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

    def agrees(self, served: dict[str, Any], predicted: Prediction) -> bool:
        """Return whether the label is the same and the probability nearly."""
        difference: float = abs(served["score"] - float(predicted["confidence"]))
        return bool(served["label"] == predicted["predicted"] and difference <= SAME_SCORE)


def numbers(labels: pl.Series, targets: Targets) -> np.ndarray:
    """Return the number of each label, (n,)."""
    number = {label: position for position, label in enumerate(targets["labels"])}
    return np.array([number[label] for label in labels])


PROBLEM = TextClassification
