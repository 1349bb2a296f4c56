"""One label per text, or per pair of texts: intents, topics, sentiment, entailment.

Served by the `text-classification` pipeline.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from tasks.problems import Targets
from tasks.problems.common.classification import METRICS, Classification, numbers
from tasks.problems.common.text import TEXTS, TextProblem, joined
from tasks.problems.text_classification.params import Own
from tasks.shared.columns import Column
from tasks.shared.errors import InputError, did_you_mean
from tasks.shared.statistics import Statistic, Statistics

if TYPE_CHECKING:
    import pyarrow as pa
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


class TextClassification(Classification, TextProblem):
    """Rows are (text, label), or (text, text_pair, label)."""

    section = Own
    columns: Mapping[str, Column] = {**TEXTS, "label": Column("category", "target")}
    examples = (
        {"text": "the courier says delivered but my porch is empty", "label": "parcel_not_received"},
        {"text": "a man plays a guitar", "text_pair": "somebody makes music", "label": "entailment"},
    )

    def __init__(self, params: Any = None) -> None:
        """Know the metrics that the params ask for."""
        super().__init__(params)
        scope = ("in_scope_accuracy", "out_of_scope_recall") if self.params.out_of_scope else ()
        self.metrics = (*METRICS, *scope)

    def learn_targets(self, train: pl.DataFrame) -> Targets:
        """Return the labels; raise InputError when train lacks that of what is out of scope."""
        learned, out = super().learn_targets(train), self.params.out_of_scope
        if out and out not in learned["labels"]:
            missing = f"no train row has the label '{out}'{did_you_mean(out, learned['labels']) or '.'}"
            raise InputError(f"text_classification.out_of_scope: {missing}")
        return learned

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

    def measure(self, predictions: pl.DataFrame, rows: pl.DataFrame, targets: Targets) -> Statistics:
        """Return what classification measures.

        Where there is a class of what is out of scope, also its recall, and the accuracy on the rows of all
        others (Larson et al. 2019).
        """
        found = dict(super().measure(predictions, rows, targets))
        if self.params.out_of_scope:
            out = (rows["label"] == self.params.out_of_scope).to_numpy()
            right = (predictions["predicted"] == rows["label"]).to_numpy()
            for scope, metric, counted in (("in", "accuracy", ~out), ("out_of", "recall", out)):
                hits = {f"{scope}_scope_hits": right & counted, f"{scope}_scope": counted}
                found[f"{scope}_scope_{metric}"] = Statistic("rate", pl.DataFrame(hits).cast(pl.Int64))
        return found

    def baselines(self, train: pl.DataFrame, test: pl.DataFrame, targets: Targets) -> dict[str, pl.DataFrame]:
        """Return the most frequent label, and what TF-IDF (words 1-2, letters 2-5) with a linear SVM says."""
        from tasks.problems.common.baselines import tfidf_linear

        said = tfidf_linear(joined(train, self.columns), train["label"], joined(test, self.columns))
        return {**super().baselines(train, test, targets), "tfidf_linear": said}


PROBLEM = TextClassification
