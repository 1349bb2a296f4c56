"""What a problem must say: its columns, its model inputs, its model, and what a prediction is worth.

A problem is a folder in this one, found by its name. All else (the stages, the report, the form) follows from
the kinds of its columns (tasks/shared/columns.py) and from its statistics (tasks/shared/statistics.py).
"""

import importlib
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

from tasks.shared.errors import InputError, did_you_mean

if TYPE_CHECKING:
    import numpy as np
    import polars as pl
    import pyarrow as pa
    from datasets import Dataset
    from matplotlib.figure import Figure
    from transformers import PreTrainedModel

    from tasks.shared.columns import Columns
    from tasks.shared.params import Data, Ingest, Tokenize, Train
    from tasks.shared.section import Section
    from tasks.shared.statistics import Statistics

# what turns rows into model inputs: a tokenizer, an image processor, ...
Processor = Any
Collator = Callable[[list[dict[str, Any]]], Mapping[str, Any]]
# as `compute_loss_func` of transformers.Trainer: from what a model answers and the labels of a batch
Loss = Callable[..., Any]
# what is learned of the train split's targets, as JSON: {"labels": [...]}
Targets = dict[str, Any]
Prediction = dict[str, Any]


@dataclass
class Encoded:
    """Model inputs of some rows, and what was lost on the way."""

    # a column per model input, `length` int32, those that the problem names in `learned` and `carried`, and
    # where a row can make several inputs, `row` int64: the number of the row that an input is of; list<int64>
    # where an input can be of several rows
    inputs: "pa.RecordBatch"
    # rows that were cut
    truncated: int = 0
    # tokens that the vocabulary does not know
    unknown: int = 0
    # tokens among which the unknown ones are; None: as many as all lengths say
    tokens: int | None = None
    # what was to be learned and no model input stands for, such as words that were cut off
    lost: int = 0


class Unusable(Exception):  # noqa: N818 (a reason, as rejected rows have one)
    """Why a picture or a sound cannot be used; its row is rejected."""


@dataclass
class Media:
    """A picture or a sound as it is kept."""

    # as it came, or written anew where it was no plain one
    content: bytes
    # of the file's name, such as .png
    suffix: str
    # what is worth watching from run to run, such as the width in pixels
    facts: dict[str, float]
    # what was done to it, in a few words
    changed: str = ""


class Problem(Protocol):
    """What the stages ask of a problem, in the order in which they ask."""

    # the transformers pipeline that serves the packaged model, and what it is called with beside rows
    task: str
    served_with: Mapping[str, Any]
    # lines of Python that make of the pipeline's `answer` what `predict` predicts, where it is not that
    served_then: str = ""
    columns: "Columns"
    # rows that people are shown, as a file of JSON lines would hold them; ingest takes each of them
    examples: tuple[Mapping[str, Any], ...] = ()
    # what `read` reads, in words
    formats: tuple[str, ...] = ()
    # the names of what `measure` measures, and of the one that selects the checkpoint and leads the report
    metrics: tuple[str, ...]
    headline: str
    # of the encoded columns those that the model learns to answer with, and those that `predict` takes out of
    # a batch because no model is given them, such as where each token stands in the text
    learned: tuple[str, ...] = ("labels",)
    carried: tuple[str, ...] = ()
    # the encoded column that nothing but an encoder reads, so that where it is frozen, and reads as much of
    # every row, rows hold what it answers instead: `encoder_outputs`; empty: there is none
    encoder_reads: str = ""
    # whether each row, or each token, has one label, as the Trainer's label smoothing takes for granted
    smooths: bool = False
    # how training measures the metrics on validation: None, by what a forward pass answers for every row;
    # a number, by predicting so many rows as evaluate does; 0, not at all: the loss selects the checkpoint
    validation_rows: int | None = None
    # whether the model reads a batch in one go, so that processes which hold a part of it read it together
    reads_at_once: bool = True
    # a file that serves the package where no pipeline does, with nothing but transformers: it is run as
    # tasks/package/serve.py is, shown in the card and put beside the model
    serve: Path | None = None
    # whether train rows are seen otherwise in each epoch, as `augment` says
    augments: bool = False
    # what `length` counts of an input
    units: str = "tokens"
    # where the files of a column of pictures or sounds lie, by what rows say; stages set it
    media: Path = Path("data/media")
    # the endings of the files that such a column may have
    media_endings: tuple[str, ...] = ()
    # the share of rows of which the package may say something else: where tokens are equally likely, sums in
    # another order decide, and with that what comes after
    ties: float = 0.0
    # what only it has to tune: `Own` in the params.py of its folder, where there is one
    section: "type[Section] | None" = None
    params: Any

    def __init__(self, params: "Section | None" = None) -> None:
        """Take what only this problem has to tune, by default as it is where nothing is said.

        Its columns and how files are read may depend on it.
        """
        self.params = self.section() if params is None and self.section is not None else params

    def read(self, file: Path, params: "Data") -> Iterator[dict[str, Any]] | None:
        """Yield the rows of a file of the problem's own format, by their columns' names.

        None: it holds a table. It runs in a fork, where nothing that has threads of its own (polars, torch)
        may be used.
        """
        return None

    def keep(self, content: bytes, params: "Ingest") -> Media:
        """Return what is kept of a picture or sound that rows name; raise Unusable where it is none.

        It runs in a fork with little memory, where nothing that has threads of its own may be used.
        """
        raise NotImplementedError

    def reject(self, rows: "pl.DataFrame", params: "Ingest") -> "pl.Series":
        """Return for each row, each of whose values can be used, a reason why it cannot be; else null."""
        import polars as pl

        return pl.repeat(None, rows.height, dtype=pl.String, eager=True)

    def learn_targets(self, train: "pl.DataFrame") -> Targets:
        """Return what there is to know of targets, such as the names of labels in a fixed order, as JSON.

        train: the target columns of the train split.
        """
        return {}

    def processor(self, base: Path, train: "pl.LazyFrame", params: "Tokenize") -> Processor:
        """Return what makes model inputs: the base model's, or one learned from the train rows."""

    def load_processor(self, folder: Path) -> Processor:
        """Return a processor as its `save_pretrained` wrote it."""

    def encode(
        self, processor: Processor, rows: "pl.DataFrame", targets: Targets, params: "Tokenize"
    ) -> Iterator[Encoded]:
        """Yield model inputs and labels for all rows in order, batch by batch, unpadded."""

    def model(
        self, base: Path, processor: Processor, targets: Targets
    ) -> "tuple[PreTrainedModel, list[str]]":
        """Return a model in fp32, and what was drawn anew in sentences; the caller has set the seed.

        base: the base model, or a checkpoint that `train` wrote.
        """

    def loss(self, train: "pl.DataFrame", targets: Targets, params: "Train") -> Loss | None:
        """Return the loss that `train.class_weights` asks for; None: the model's own.

        train: the target columns of the train split. Raises InputError for what this problem cannot do.
        """
        self.refuse_smoothing(params)
        if params.class_weights != "none":
            raise InputError(f"train.class_weights: {self.task} has no classes here; set it to none")
        return None

    def refuse_smoothing(self, params: "Train") -> None:
        """Raise InputError for label smoothing where not each row, or each token, has one label."""
        if params.label_smoothing_factor and not self.smooths:
            raise InputError("train.label_smoothing_factor is for one label per row or token; set it to 0")

    def collator(self, processor: Processor) -> Collator:
        """Return what pads and stacks rows into a batch of tensors."""

    def flat_collator(self) -> Collator:
        """Return what puts the rows of a batch one behind the other, without padding (`train.padding_free`).

        Raises InputError where rows cannot be told apart then.
        """
        raise InputError(f"train.padding_free: {self.task} has one answer per row; set it to false")

    def augment(
        self, row: dict[str, Any], processor: Processor, draw: "np.random.Generator"
    ) -> dict[str, Any]:
        """Return an encoded train row as one epoch sees it, such as with other tokens masked.

        draw: gives the same numbers whenever this row is seen in this epoch.
        """
        return row

    def predict(
        self,
        model: "PreTrainedModel",
        processor: Processor,
        batch: Mapping[str, Any],
        targets: Targets,
        logits: Any = None,
    ) -> list[Prediction]:
        """Return of each row `predicted`, of the target's kind, and what else is known, such as `confidence`.

        Each input of the batch is predicted by itself. logits: what a forward pass on this very batch has
        answered already, during validation; a tuple where that is more than one tensor.
        A number that is not finite says that the model cannot be used.
        Of an input of several rows, a list with a prediction for each.
        """

    def gather(self, found: list[Prediction], row: dict[str, Any]) -> Prediction:
        """Return the prediction for a row of what was predicted for each of its inputs, in their order."""
        return found[0]

    def complete(
        self,
        model: "PreTrainedModel",
        processor: Processor,
        rows: "pl.DataFrame",
        predicted: "pl.DataFrame",
    ) -> "pl.DataFrame":
        """Return predictions of test rows with what is too slow for all rows, such as generated text."""
        return predicted

    def probe(self, model: "PreTrainedModel", batch: Mapping[str, Any]) -> Any:
        """Return numbers (rows, k) by which a model's answers are compared before it is trained.

        Those of a row must be the same alone and beside longer ones.
        """
        return model(**batch).logits

    def calibrate(
        self,
        checkpoint: Path,
        validation: "Dataset",
        rows: "pl.DataFrame",
        targets: Targets,
    ) -> dict[str, Any]:
        """Find out on validation what the kept model's answers mean, and write it into its folder.

        Such as thresholds, once training is over. checkpoint: the model and its processor, as they leave the
        train stage. validation: model inputs of `rows`. Returns what was found, for metrics/train.json.
        """
        return {}

    def comparable(self, rows: "pl.DataFrame") -> "pl.DataFrame":
        """Return rows whose targets are as predictions are compared with them, such as in small letters."""
        return rows

    def measure(self, predictions: "pl.DataFrame", rows: "pl.DataFrame", targets: Targets) -> "Statistics":
        """Return what each row adds to each metric; a baseline's predictions hold nothing but `predicted`."""

    def baselines(
        self, train: "pl.DataFrame", test: "pl.DataFrame", targets: Targets
    ) -> "dict[str, pl.DataFrame]":
        """Return what anyone predicts without a transformer: `predicted` for each test row."""
        return {}

    def token_baselines(self, train: "Dataset", test: "Dataset", num_rows: int) -> "dict[str, pl.DataFrame]":
        """Return what is predicted by counting the tokens of `encode`; of so many test rows, in order."""
        return {}

    def draw(
        self,
        predictions: "pl.DataFrame",
        rows: "pl.DataFrame",
        targets: Targets,
    ) -> "dict[str, Figure]":
        """Return pictures of the predictions, by the names of their files."""
        return {}

    def samples(self, predictions: "pl.DataFrame", rows: "pl.DataFrame") -> "pl.DataFrame | None":
        """Return a few rows for people: what was given, predicted, expected; None where that says nothing."""
        return None

    def export(self, checkpoint: Path, out: Path) -> None:
        """Write the model and processor that are packaged, from the checkpoint that was measured."""
        for file in sorted(checkpoint.iterdir()):
            shutil.copyfile(file, out / file.name)

    def asked(self, folder: Path, rows: "pl.DataFrame", predicted: "pl.DataFrame") -> list[Any]:
        """Return what the package in a folder is called with for each row, to repeat a prediction.

        None: it is not.
        """
        from tasks.shared.columns import served

        return served(rows, self.columns)

    def agrees(self, served: Any, predicted: Prediction) -> bool:
        """Return whether the served package answers what was predicted.

        predicted: what `predict` gave, through predictions.csv: all but `predicted` is text, numbers have six
        decimals.
        """


def load(name: str, own: "Section | None" = None) -> Problem:
    """Return the problem in the folder of this name.

    own: what only it has to tune.
    """
    module = importlib.import_module(f"tasks.problems.{name}")
    return cast(Problem, module.PROBLEM(own))


def tokenizer_of(processor: Processor) -> Processor:
    """Return the tokenizer that a processor is, or holds beside what reads pictures."""
    return getattr(processor, "tokenizer", processor)


def refuse_unknown_columns(named: Iterable[str], problem: Problem) -> None:
    """Raise InputError when data.columns names a column that the problem does not have."""
    for column in named:
        if column not in problem.columns:
            hint = did_you_mean(column, problem.columns) or "."
            known = ", ".join(problem.columns)
            raise InputError(f"data.columns: {problem.task} has no column '{column}'{hint} It has {known}")
