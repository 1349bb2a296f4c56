"""A number per text, or per pair of texts: ratings, prices, similarity.

Served by the `text-classification` pipeline, whose score is the number.
"""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from tasks.problems import Prediction, Targets
from tasks.problems.common.predicting import answers
from tasks.problems.common.text import TEXTS, TextProblem, joined
from tasks.problems.text_regression.params import Own
from tasks.shared.columns import Column
from tasks.shared.errors import InputError
from tasks.shared.files import rounded
from tasks.shared.statistics import Statistic, Statistics

if TYPE_CHECKING:
    import pyarrow as pa
    from datasets import Dataset
    from matplotlib.figure import Figure
    from transformers import PreTrainedModel

NUMBERS = ("mean_absolute_error", "root_mean_squared_error", "r2", "pearson")
# other batches sum in another order
SAME_NUMBER = 1e-3
# in config.json: the model answers with numbers as they are
IN_NUMBERS = "answers_in_numbers"


class TextRegression(TextProblem):
    """Rows are (text, number), or (text, text_pair, number).

    The model learns numbers from their mean, in units of their spread: an untrained head answers near 0, and
    a step of training moves it by little. Once training is over its last layer answers in their own units.
    """

    section = Own
    columns: Mapping[str, Column] = {**TEXTS, "number": Column("number", "target")}
    examples = (
        {"text": "came in two days and fits", "number": 4.5},
        {"text": "a dog runs", "text_pair": "a dog is running", "number": 4.8},
    )
    headline = "mean_absolute_error"

    def __init__(self, params: Any = None) -> None:
        """Know the metrics that the params ask for."""
        super().__init__(params)
        self.metrics = NUMBERS if self.params.threshold is None else (*NUMBERS, "accuracy")

    def learn_targets(self, train: pl.DataFrame) -> Targets:
        """Return the numbers' mean and standard deviation, in the six digits that a head of fp32 can tell."""
        numbers = train["number"].sort()
        spread: Any = numbers.std(ddof=0)
        if not self.params.standardize or not spread:
            return {"mean": 0.0, "spread": 1.0}
        learned: Targets = rounded({"mean": numbers.mean(), "spread": spread})
        return learned

    def labels(self, rows: pl.DataFrame, targets: Targets) -> "pa.Array":
        """Return what the model learns to answer, float32."""
        import pyarrow as pa

        return pa.array((rows["number"] - targets["mean"]) / targets["spread"], pa.float32())

    def model(self, base: Path, processor: Any, targets: Targets) -> "tuple[PreTrainedModel, list[str]]":
        """Load a model whose head answers with one number, from the mean in units of the spread.

        That of a checkpoint answers with numbers as they are, which its config says: it is turned back.
        """
        from tasks.problems.common import heads, pretrained

        model, said = pretrained.classifier(base, processor, ["number"], "regression")
        layer = heads.last_layer(model)
        if targets["mean"] and (layer is None or layer.bias is None):
            kind = model.config.model_type
            none = f"the head of a {kind} model has no bias to answer in the numbers' units by"
            raise InputError(f"model.name: {none}; set text_regression.standardize to false")
        if getattr(model.config, IN_NUMBERS, False):
            heads.rescale(model, 1 / targets["spread"], -targets["mean"] / targets["spread"])
            setattr(model.config, IN_NUMBERS, False)
        return model, said

    def predict(
        self,
        model: "PreTrainedModel",
        processor: Any,
        batch: Mapping[str, Any],
        targets: Targets,
        logits: Any = None,
    ) -> list[Prediction]:
        """Return the numbers, in their own units."""
        found = answers(model, batch, logits)[:, 0].astype(float)
        return [{"predicted": number} for number in (found * targets["spread"] + targets["mean"]).tolist()]

    def calibrate(
        self,
        checkpoint: Path,
        validation: "Dataset",
        rows: pl.DataFrame,
        targets: Targets,
    ) -> dict[str, Any]:
        """Have the last layer answer in the numbers' own units."""
        from tasks.problems.common import heads

        model, _ = self.model(checkpoint, self.load_processor(checkpoint), targets)
        heads.rescale(model, targets["spread"], targets["mean"])
        setattr(model.config, IN_NUMBERS, True)
        model.save_pretrained(checkpoint)
        return {}

    def measure(self, predictions: pl.DataFrame, rows: pl.DataFrame, targets: Targets) -> Statistics:
        """Return how far off the numbers are, how much of their differences is predicted, and their side."""
        pairs = pl.DataFrame({"predicted": predictions["predicted"], "actual": rows["number"]})
        found = {name: Statistic(name, pairs) for name in NUMBERS}
        if self.params.threshold is not None:
            predicted, actual = (pairs[name] >= self.params.threshold for name in pairs.columns)
            found["accuracy"] = Statistic("accuracy", pl.DataFrame({"correct": predicted == actual}))
        return found

    def baselines(self, train: pl.DataFrame, test: pl.DataFrame, targets: Targets) -> dict[str, pl.DataFrame]:
        """Return the mean of the train rows, and what TF-IDF with a ridge regression says."""
        from sklearn.dummy import DummyRegressor
        from sklearn.linear_model import Ridge

        from tasks.problems.common.baselines import tfidf

        texts, found = joined(train, self.columns), {}
        models = {"mean": DummyRegressor(), "tfidf_ridge": tfidf(texts, Ridge(solver="sparse_cg"))}
        for name, model in models.items():
            model.fit(texts, train["number"].to_numpy())
            answered = model.predict(joined(test, self.columns))
            found[name] = pl.DataFrame({"predicted": answered}, schema={"predicted": pl.Float64})
        return found

    def draw(self, predictions: pl.DataFrame, rows: pl.DataFrame, targets: Targets) -> "dict[str, Figure]":
        """Draw predicted numbers over actual ones."""
        from tasks.problems.common import figures

        return {"scatter": figures.scatter(predictions["predicted"], rows["number"])}

    def agrees(self, served: dict[str, Any], predicted: Prediction) -> bool:
        """Return whether the served number is nearly the predicted one."""
        return math.isclose(served["score"], predicted["predicted"], rel_tol=SAME_NUMBER, abs_tol=SAME_NUMBER)


PROBLEM = TextRegression
