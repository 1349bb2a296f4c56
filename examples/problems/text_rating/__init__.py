"""A rating per text, as plainly as it can be said. An example of a problem: docs/problems.md explains it."""

import math
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
    from matplotlib.figure import Figure
    from transformers import PreTrainedModel


class TextRating(TextProblem):
    """Rows are (text, number)."""

    columns: Mapping[str, Column] = {"text": Column("text", "input"), "number": Column("number", "target")}
    examples = ({"text": "came in two days and fits", "number": 4.5},)
    metrics = ("mean_absolute_error", "r2", "pearson")
    headline = "mean_absolute_error"

    def labels(self, rows: pl.DataFrame, targets: Targets) -> "pa.Array":
        """Return what the model learns to answer, float32."""
        import pyarrow as pa

        return pa.array(rows["number"], pa.float32())

    def model(self, base: Path, processor: Any, targets: Targets) -> "tuple[PreTrainedModel, list[str]]":
        """Load a model whose head answers with one number."""
        from tasks.problems.common import pretrained

        return pretrained.classifier(base, processor, ["number"], "regression")

    def predict(
        self,
        model: "PreTrainedModel",
        processor: Any,
        batch: Mapping[str, Any],
        targets: Targets,
        logits: Any = None,
    ) -> list[Prediction]:
        """Return the numbers."""
        return [{"predicted": float(number)} for (number,) in answers(model, batch, logits)]

    def measure(self, predictions: pl.DataFrame, rows: pl.DataFrame, targets: Targets) -> Statistics:
        """Return how far off the numbers are, and how much of their differences is predicted."""
        pairs = pl.DataFrame({"predicted": predictions["predicted"], "actual": rows["number"]})
        return {name: Statistic(name, pairs) for name in self.metrics}

    def baselines(self, train: pl.DataFrame, test: pl.DataFrame, targets: Targets) -> dict[str, pl.DataFrame]:
        """Return the mean of the train rows for every row."""
        return {"mean": pl.DataFrame({"predicted": [train["number"].mean()] * test.height})}

    def draw(self, predictions: pl.DataFrame, rows: pl.DataFrame, targets: Targets) -> "dict[str, Figure]":
        """Draw predicted numbers over actual ones."""
        from tasks.problems.common import figures

        return {"scatter": figures.scatter(predictions["predicted"], rows["number"])}

    def agrees(self, served: dict[str, Any], predicted: Prediction) -> bool:
        """Return whether the served number is nearly the predicted one."""
        return math.isclose(served["score"], predicted["predicted"], rel_tol=1e-3, abs_tol=1e-3)


PROBLEM = TextRating
