"""Any number of tags per text: topics of an article, faults in a review. A target that is a list."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from tasks.problems import Prediction, Targets
from tasks.problems.common.predicting import answers
from tasks.problems.common.text import TextProblem
from tasks.shared.columns import Column
from tasks.shared.statistics import Statistic, Statistics

if TYPE_CHECKING:
    import pyarrow as pa
    from transformers import PreTrainedModel


class TextTags(TextProblem):
    """Rows are (text, tags); a tag is predicted where its probability is a half or more."""

    columns: Mapping[str, Column] = {"text": Column("text", "input"), "tags": Column("categories", "target")}
    examples = ({"text": "late again, and the box was wet", "tags": ["delivery", "packaging"]},)
    metrics = ("micro_f1", "macro_f1")
    headline = "micro_f1"
    served_with: Mapping[str, Any] = {"truncation": True, "top_k": None}

    def learn_targets(self, train: pl.DataFrame) -> Targets:
        """Return the tags by their spelling."""
        return {"labels": train["tags"].explode().drop_nulls().unique().sort().to_list()}

    def labels(self, rows: pl.DataFrame, targets: Targets) -> "pa.Array":
        """Return 1 for each tag that a row has and 0 for the others, list<float32>."""
        import pyarrow as pa

        flags = [[float(tag in tags) for tag in targets["labels"]] for tags in rows["tags"]]
        return pa.array(flags, pa.list_(pa.float32()))

    def model(self, base: Path, processor: Any, targets: Targets) -> "tuple[PreTrainedModel, list[str]]":
        """Load a model whose head answers for each tag by itself."""
        from tasks.problems.common import pretrained

        return pretrained.classifier(base, processor, targets["labels"], "multi_label_classification")

    def predict(
        self, model: Any, processor: Any, batch: Any, targets: Any, logits: Any = None
    ) -> list[Prediction]:
        """Return the tags whose logit is not below 0."""
        found = []
        for row in answers(model, batch, logits):
            tags = [tag for tag, logit in zip(targets["labels"], row, strict=True) if logit >= 0]
            found.append({"predicted": tags, "largest_logit": float(row.max())})
        return found

    def measure(self, predictions: pl.DataFrame, rows: pl.DataFrame, targets: Targets) -> Statistics:
        """Return F1 over all tags, and over each alike."""
        kind = pl.List(pl.Enum(targets["labels"]))
        both = {"predicted": predictions["predicted"], "actual": rows["tags"]}
        pairs = pl.DataFrame(both).cast(kind)
        return {name: Statistic(name, pairs) for name in self.metrics}

    def baselines(self, train: pl.DataFrame, test: pl.DataFrame, targets: Targets) -> dict[str, pl.DataFrame]:
        """Return the most frequent tag for every row."""
        most = train["tags"].explode().drop_nulls().mode().sort()[0]
        return {"majority": pl.DataFrame({"predicted": [[most]] * test.height})}

    def agrees(self, served: list[dict[str, Any]], predicted: Prediction) -> bool:
        """Return whether the served tags are the predicted ones, but for those on the border."""
        certain = {answer["label"]: answer["score"] for answer in served if abs(answer["score"] - 0.5) > 1e-3}
        return all((tag in predicted["predicted"]) == (score > 0.5) for tag, score in certain.items())


PROBLEM = TextTags
