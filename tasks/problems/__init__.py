"""One file per problem: columns, preprocessing, model head, collator, metrics. The stages know only this protocol."""

import importlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, cast

from tasks.shared.errors import InputError, did_you_mean

if TYPE_CHECKING:
    import numpy as np
    import polars as pl
    import pyarrow as pa
    from transformers import EvalPrediction, PreTrainedModel, PreTrainedTokenizerBase

    from tasks.shared.params import Evaluate, Ingest, Tokenize

    Processor: TypeAlias = PreTrainedTokenizerBase


@dataclass
class Encoded:
    """Model inputs of some rows, and what was lost on the way."""

    inputs: "pa.RecordBatch"  # one list column per model input, and `length` int32
    truncated: int  # rows that were cut
    unknown: int  # tokens the vocabulary does not know


@dataclass
class Scored:
    """What evaluation found."""

    metrics: dict[str, Any]  # what metrics/evaluate.json holds
    predictions: "pl.DataFrame"  # id, actual, predicted, confidence; a row per test row, in order
    reliability: list[tuple[float, float, float, float]]  # upper edge of a confidence bin, share of rows, accuracy, mean confidence


class Problem(Protocol):
    """What a stage asks of a problem. `label` is the column to learn in every problem."""

    task: str  # the transformers pipeline that serves it
    columns: tuple[str, ...]  # what a raw table must have, the label last
    scores: tuple[str, ...]  # what may select the checkpoint, beside the loss
    # the metric that leads the report
    headline: str

    def validate(self, table: "pl.DataFrame", params: "Ingest") -> "tuple[pl.DataFrame, dict[int, str]]":
        """Return the usable rows, and for each other row of `table` its index and the reason."""

    def content(self, table: "pl.DataFrame") -> list[bytes]:
        """Return what identifies each row: rows with equal content must never stand in two splits."""

    def describe(self, table: "pl.DataFrame") -> dict[str, Any]:
        """Return numbers worth watching from run to run: label counts, length percentiles."""

    def inputs(self, table: "pl.DataFrame") -> list[Any]:
        """Return each row as the serving pipeline takes it."""

    def show(self, table: "pl.DataFrame") -> list[str]:
        """Return each row as a person would recognise it."""

    def processor(self, folder: Path, params: "Tokenize") -> "Processor":
        """Load the base model's tokenizer or processor from `folder`, set up as `params` say."""

    def load_processor(self, folder: Path) -> "Processor":
        """Load a tokenizer or processor as `tokenize` saved it."""

    def encode(self, processor: "Processor", table: "pl.DataFrame", params: "Tokenize") -> "Iterator[Encoded]":
        """Yield model inputs for all rows in order, batch by batch, unpadded."""

    def example(self, processor: "Processor", table: "pl.DataFrame", params: "Tokenize") -> dict[str, Any]:
        """Return one worked example: a row and what the model will see of it."""

    def model(self, folder: Path, labels: "Sequence[str]", processor: "Processor") -> "tuple[PreTrainedModel, list[str]]":
        """Load a model with a head for `labels`, and say what was drawn anew; the caller has set the seed."""

    def collator(self, processor: "Processor") -> "Callable[[list[dict[str, Any]]], Mapping[str, Any]]":
        """Return what pads and stacks rows into a batch."""

    def reduce_logits(self, logits: Any, labels: Any) -> Any:
        """Shrink a batch's logits to what `compute_metrics` needs, so that a large split fits in memory."""

    def compute_metrics(self, prediction: "EvalPrediction") -> dict[str, float]:
        """Return the validation metrics that can select a checkpoint."""

    def score(self, logits: "np.ndarray", rows: "pl.DataFrame", labels: "Sequence[str]", params: "Evaluate") -> Scored:
        """Return the test scores from logits (n, number of labels) float32 and the n rows they belong to."""

    def baselines(self, train: "pl.DataFrame", test: "pl.DataFrame", labels: "Sequence[str]") -> dict[str, dict[str, float]]:
        """Return the scores on `test` of what anyone gets without a transformer, learned from `train`."""


def load(name: str) -> Problem:
    """Return the problem that tasks/problems/NAME.py defines."""
    module = importlib.import_module(f"tasks.problems.{name}")
    return cast(Problem, module.PROBLEM)


def refuse_unknown_columns(named: Iterable[str], problem: Problem) -> None:
    """Raise InputError when data.columns names a column that the problem does not have."""
    for column in named:
        if column not in problem.columns:
            hint = did_you_mean(column, problem.columns) or "."
            known = ", ".join(problem.columns)
            raise InputError(f"data.columns: {problem.task} has no column '{column}'{hint} It has {known}")
