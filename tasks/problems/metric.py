"""What a problem measures as a metric of Hugging Face's `evaluate`, for notebooks and trainers of one's own.

It gives the figures of metrics/evaluate.json for whatever predictions it is given. No stage imports this:
they sum the same statistics.
"""

import json
import math
from collections.abc import Iterable
from typing import Any

import evaluate
import polars as pl
from datasets import Features, Value

from tasks.problems import Problem, Targets
from tasks.shared import columns
from tasks.shared.files import read_json
from tasks.shared.paths import Paths
from tasks.shared.predictions import table
from tasks.shared.statistics import values

DESCRIPTION = """
Args:
    predictions: of each row what was predicted, or a mapping with that as `predicted` and what else
        the problem predicts, such as `confidence`.
    references: of each row its target, or a mapping of its columns where more is measured by.
Returns:
    Each metric of the problem that these rows define, by its name.
"""


def as_metric(problem: Problem, paths: Paths | None = None) -> "ProblemMetric":
    """Return what a problem measures as a metric, for the targets that tokenize has learned.

    paths: where the stages' outputs are; without them, below the current folder.
    """
    return ProblemMetric(problem, read_json((paths or Paths()).tokens / "targets.json"))


class ProblemMetric(evaluate.Metric):
    """A metric that keeps rows as JSON, because only the problem knows of which types its predictions are."""

    def __init__(self, problem: Problem, targets: Targets) -> None:
        self.problem, self.targets = problem, targets
        super().__init__()

    def _info(self) -> evaluate.MetricInfo:
        texts = Features({"predictions": Value("string"), "references": Value("string")})
        said = f"{', '.join(self.problem.metrics)} of {self.problem.task}"
        names = {"description": said, "citation": "", "inputs_description": DESCRIPTION}
        return evaluate.MetricInfo(**names, features=texts)

    def add_batch(self, *, predictions: Iterable[Any], references: Iterable[Any], **more: Any) -> None:
        """Take in some rows."""
        super().add_batch(predictions=_as_json(predictions), references=_as_json(references), **more)

    def add(self, *, prediction: Any, reference: Any, **more: Any) -> None:
        """Take in a row."""
        self.add_batch(predictions=[prediction], references=[reference], **more)

    def _compute(self, *, predictions: list[str], references: list[str]) -> dict[str, float]:
        known = self.problem.columns
        target = next(iter(columns.targets(known)), "")
        predicted = table(_by_name(predictions, "predicted"), known)
        types = {name: columns.kind(column).dtype for name, column in columns.present(known, ()).items()}
        rows = pl.DataFrame(_by_name(references, target), infer_schema_length=None, schema_overrides=types)
        groups = rows["source_group"] if "source_group" in rows.columns else None
        found = values(self.problem.measure(predicted, rows, self.targets), groups)
        return {name: value for name, value in found.items() if math.isfinite(value)}


def _as_json(given: Iterable[Any]) -> list[str]:
    """Return values as JSON, numpy's and torch's among them."""
    return [json.dumps(value, default=lambda array: array.tolist()) for value in given]


def _by_name(texts: list[str], name: str) -> list[dict[str, Any]]:
    """Return the mappings in texts; a value that is none under its name."""
    found = map(json.loads, texts)
    return [value if isinstance(value, dict) else {name: value} for value in found]
