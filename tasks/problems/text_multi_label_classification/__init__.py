"""Any number of labels per text, or per pair of texts: intents of a sentence, topics of an article.

Served by the `text-classification` pipeline with the scores of all labels; a label applies where its score is
at least `config.thresholds[label]`, which is found on validation.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from tasks.problems import Loss, Prediction, Targets
from tasks.problems.common.predicting import answers
from tasks.problems.common.text import TEXTS, TextProblem, joined
from tasks.problems.text_multi_label_classification.params import Own
from tasks.problems.text_multi_label_classification.thresholds import one, per_label
from tasks.shared.columns import Column
from tasks.shared.params import Train
from tasks.shared.statistics import Statistic, Statistics
from tasks.shared.statistics import per_label as scores_per_label

if TYPE_CHECKING:
    import pyarrow as pa
    from datasets import Dataset
    from matplotlib.figure import Figure
    from transformers import PreTrainedModel

F1 = ("micro_f1", "macro_f1", "samples_f1")
HALF = 0.5
APPLYING = """thresholds = predict.model.config.thresholds
[it["label"] for it in answer if it["score"] >= thresholds[it["label"]]]"""
# other batches sum in another order
SAME_SCORE = 1e-3


class TextMultiLabelClassification(TextProblem):
    """Rows are (text, labels), or (text, text_pair, labels)."""

    section = Own
    columns: Mapping[str, Column] = {**TEXTS, "labels": Column("categories", "target")}
    examples = (
        {"text": "cancel my card and send a new one", "labels": ["cancel", "card", "new"]},
        {"text": "hello there", "labels": []},
    )
    metrics = (*F1, "exact_match")
    headline = "micro_f1"
    served_with: Mapping[str, Any] = {"truncation": True, "top_k": None}
    served_then = APPLYING

    def learn_targets(self, train: pl.DataFrame) -> Targets:
        """Return the labels by their spelling."""
        return {"labels": train["labels"].explode().drop_nulls().unique().sort().to_list()}

    def labels(self, rows: pl.DataFrame, targets: Targets) -> "pa.Array":
        """Return 1 for each label that a row has and 0 for the others, list<float32>."""
        import pyarrow as pa

        return pa.array(flags(rows, targets).astype(np.float32).tolist(), pa.list_(pa.float32()))

    def model(self, base: Path, processor: Any, targets: Targets) -> "tuple[PreTrainedModel, list[str]]":
        """Load a model whose head answers for each label by itself."""
        from tasks.problems.common import pretrained

        model, said = pretrained.classifier(base, processor, targets["labels"], "multi_label_classification")
        return model, said

    def loss(self, train: pl.DataFrame, targets: Targets, params: Train) -> Loss | None:
        """Return cross entropy in which the rows that have a label count for as much as those without it."""
        from tasks.problems.common import losses

        self.refuse_smoothing(params)
        if params.class_weights == "none":
            return None
        rows = flags(train, targets).sum(axis=0)
        return losses.BinaryCrossEntropy(((train.height - rows) / np.maximum(rows, 1)).tolist())

    def predict(
        self,
        model: "PreTrainedModel",
        processor: Any,
        batch: Mapping[str, Any],
        targets: Targets,
        logits: Any = None,
    ) -> list[Prediction]:
        """Return the labels that apply with their scores, and which of the others comes nearest to that."""
        labels = targets["labels"]
        known = getattr(getattr(model, "config", None), "thresholds", None)
        # of a base model of others it may be anything
        least = np.array([known.get(label, HALF) if isinstance(known, dict) else HALF for label in labels])
        scores = probabilities(answers(model, batch, logits))
        found = []
        for row in scores:
            applies = row >= least
            others = np.where(applies, -np.inf, row - least)
            nearest = int(others.argmax())
            said = [f"{row[number]:.6f}" for number in np.flatnonzero(applies)]
            score = 0.0 if applies.all() else float(row[nearest])
            # evaluate refuses what is no number
            its = {"other": labels[nearest], "other_score": score if np.isfinite(row).all() else np.nan}
            predicted = [labels[number] for number in np.flatnonzero(applies)]
            found.append({"predicted": predicted, "scores": " ".join(said), **its})
        return found

    def calibrate(
        self,
        checkpoint: Path,
        validation: "Dataset",
        rows: pl.DataFrame,
        targets: Targets,
    ) -> dict[str, Any]:
        """Write into config.json from which score on each label applies."""
        from tasks.problems.common import heads

        labels = targets["labels"]
        found = np.full(len(labels), HALF)
        if self.params.thresholds != "half":
            processor = self.load_processor(checkpoint)
            model, _ = self.model(checkpoint, processor, targets)
            scores = probabilities(heads.logits(model, self.collator(processor), validation))
            has = flags(rows, targets)
            found = per_label(scores, has) if self.params.thresholds == "per_label" else one(scores, has)
        named = {label: round(float(least), 6) for label, least in zip(labels, found, strict=True)}
        heads.write_config(checkpoint, {"thresholds": named})
        return {"thresholds": named}

    def measure(self, predictions: pl.DataFrame, rows: pl.DataFrame, targets: Targets) -> Statistics:
        """Return F1 over all labels, of each label and of each row, and how often all labels are right."""
        both = {"predicted": predictions["predicted"], "actual": rows["labels"]}
        pairs = pl.DataFrame(both).cast(pl.List(pl.Enum(targets["labels"])))
        found = {name: Statistic(name, pairs) for name in F1}
        same = flags(rows, targets) == flags(predictions.rename({"predicted": "labels"}), targets)
        found["exact_match"] = Statistic("accuracy", pl.DataFrame({"correct": same.all(axis=1)}))
        return found

    def baselines(self, train: pl.DataFrame, test: pl.DataFrame, targets: Targets) -> dict[str, pl.DataFrame]:
        """Return the most frequent label for all, and what TF-IDF with a linear SVM for each label says."""
        from sklearn.multiclass import OneVsRestClassifier
        from sklearn.svm import LinearSVC

        from tasks.problems.common.baselines import tfidf

        labels, has = targets["labels"], flags(train, targets)
        texts = joined(train, self.columns)
        model = tfidf(texts, OneVsRestClassifier(LinearSVC(random_state=0)), num_answers=len(labels))
        model.fit(texts, has)
        said = model.predict(joined(test, self.columns))
        most = labels[int(has.sum(axis=0).argmax())]
        linear = [[labels[number] for number in np.flatnonzero(row)] for row in said]
        found = {"majority": [[most]] * test.height, "tfidf_linear": linear}
        kind = {"predicted": pl.List(pl.String)}
        return {name: pl.DataFrame({"predicted": its}, schema=kind) for name, its in found.items()}

    def draw(self, predictions: pl.DataFrame, rows: pl.DataFrame, targets: Targets) -> "dict[str, Figure]":
        """Draw F1 of each label."""
        from tasks.problems.common import figures

        scores = scores_per_label(self.measure(predictions, rows, targets)["macro_f1"])
        return {"f1_per_label": figures.per_label(scores)}

    def agrees(self, served: list[dict[str, Any]], predicted: Prediction) -> bool:
        """Return whether the scores are nearly those of the labels that apply, and of the nearest other."""
        scores = {answer["label"]: answer["score"] for answer in served}
        kept = map(float, (predicted["scores"] or "").split())
        expected = dict(zip(predicted["predicted"], kept, strict=True))
        if len(expected) < len(scores):
            expected[predicted["other"]] = float(predicted["other_score"])
        return all(abs(scores[label] - score) <= SAME_SCORE for label, score in expected.items())


def flags(rows: pl.DataFrame, targets: Targets) -> np.ndarray:
    """Return which labels rows have, (rows, labels) bool."""
    number = {label: position for position, label in enumerate(targets["labels"])}
    found = np.zeros((rows.height, len(number)), bool)
    for row, labels in enumerate(rows["labels"]):
        found[row, [number[label] for label in labels]] = True
    return found


def probabilities(logits: np.ndarray) -> np.ndarray:
    """Return the score of each label by itself, float64; NaN where a logit is no finite number."""
    # of more the exponential is no number
    shares = 1 / (1 + np.exp(-np.clip(logits.astype(np.float64), -700, 700)))
    found: np.ndarray = np.where(np.isfinite(logits), shares, np.nan)
    return found


PROBLEM = TextMultiLabelClassification
