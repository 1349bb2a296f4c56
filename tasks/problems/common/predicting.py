"""What a model predicts for all rows of a split: batches of like length, a prediction per row in the end."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from tasks.problems import Prediction, Problem, Processor, Targets
from tasks.shared import columns, devices, predictions
from tasks.shared.engine import LOCAL, Engine
from tasks.shared.errors import InputError
from tasks.shared.progress import Progress

# the numbers of a batch's inputs, and the inputs
Batch = tuple[list[int], list[dict[str, Any]]]

if TYPE_CHECKING:
    from datasets import Dataset
    from torch import Tensor
    from transformers import PreTrainedModel

MOST_PADDING = 0.1
# batches that are answered together
SHARD = 4
# numbers that a model answers with at once where each token has one for every word of a vocabulary: 256 MB
MOST_LOGITS = 2**26


def predict(
    problem: Problem,
    model: "PreTrainedModel",
    processor: Processor,
    data: "Dataset",
    rows: pl.DataFrame,
    targets: Targets,
    batch_size: int,
    say: Callable[[int], object] = lambda _: None,
    engine: Engine | None = None,
) -> pl.DataFrame:
    """Return what a model predicts for each row, in the rows' order.

    data: the rows as `encode` has made them. batch_size: the most inputs that share a batch. say: is told
    how many inputs are done. engine: computes it, on its device; None: this process, where the model is.
    """
    import torch

    found: dict[int, Prediction] = {}
    answer = partial(_answers, problem, model, processor, targets, engine.device if engine else None)
    how: dict[str, Any] = {"threads": torch.get_num_threads(), "on_device": True}
    shards = _shards(problem, data, batch_size)
    for predicted in (engine or LOCAL).map(answer, shards, reads=partial(_files, problem), **how):
        found |= predicted
        say(len(found))
    return by_row(problem, [found[number] for number in range(len(data))], data, rows)


def _shards(problem: Problem, data: "Dataset", batch_size: int) -> Iterator[list[Batch]]:
    """Yield some batches at a time: of each the numbers of its inputs, and the inputs."""
    inputs = data.select_columns(given(problem, data.column_names))
    numbered = batches(data.data["length"].to_pylist(), batch_size)
    while some := list(islice(numbered, SHARD)):
        yield [(numbers, [inputs[number] for number in numbers]) for numbers in some]


def _files(problem: Problem, shard: list[Batch]) -> Iterator[Path]:
    """Yield the pictures or sounds that a shard's inputs name, where they are read as a batch is made."""
    column = columns.media(problem.columns)
    for _, inputs in shard:
        for row in inputs:
            if column in row:
                yield problem.media / row[column]


def _answers(
    problem: Problem,
    model: "PreTrainedModel",
    processor: Processor,
    targets: Targets,
    device: str | None,
    shard: list[Batch],
) -> Iterator[dict[int, Prediction]]:
    """Yield what a model predicts for the inputs of each batch, by their numbers."""
    import torch

    if device is not None:
        model.to(device)
    collate = problem.collator(processor)
    for numbers, inputs in shard:
        with torch.inference_mode():
            batch = {name: tensor.to(model.device) for name, tensor in collate(inputs).items()}
            yield dict(zip(numbers, problem.predict(model, processor, batch, targets), strict=True))


def predict_with(
    problem: Problem,
    folder: Path,
    inputs: Path,
    rows: pl.DataFrame,
    targets: Targets,
    batch_size: int,
    stage: str,
    engine: Engine = LOCAL,
) -> pl.DataFrame:
    """Return what the model in a folder predicts for each row, in the rows' order.

    In fp32, as `transformers.pipeline` serves the model. inputs: an Arrow file of what `encode` has made of
    the rows. stage: is shown how far it is. Raises InputError when a prediction is no finite number.
    """
    import torch
    from datasets import Dataset
    from transformers.utils import logging

    logging.disable_progress_bar()
    # as in training: what it says of generation is for those who call it
    logging.set_verbosity_error()
    processor = problem.load_processor(folder)
    model = problem.model(folder, processor, targets)[0].eval()
    data = Dataset.from_file(str(inputs))
    progress = Progress(stage, len(data), unit="row")
    with devices.holds(f"{batch_size} rows at once; lower evaluate.batch_size"):
        found = predict(problem, model, processor, data, rows, targets, batch_size, progress.update, engine)
        progress.close()
        if type(problem).complete is not Problem.complete:
            complete = partial(_completed, problem, model, processor, rows, engine.device)
            (found,) = engine.map(complete, [found], threads=torch.get_num_threads(), on_device=True)
    numbers = found.select(pl.selectors.float())
    bad = numbers.filter(~pl.all_horizontal(pl.all().is_finite())).height if numbers.width else 0
    if bad:
        raise InputError(
            f"the model answers {bad} of {rows.height} test rows with NaN or infinity, so it is not used; "
            "train it again with a lower train.learning_rate"
        )
    return found


def _completed(
    problem: Problem,
    model: "PreTrainedModel",
    processor: Processor,
    rows: pl.DataFrame,
    device: str,
    found: pl.DataFrame,
) -> Iterator[pl.DataFrame]:
    """Yield predictions with what is too slow for all rows."""
    import torch

    with torch.inference_mode():
        found = problem.complete(model.to(device), processor, rows, found)
    yield found


def batches(lengths: Sequence[int], batch_size: int) -> Iterator[list[int]]:
    """Yield the numbers of inputs that share a batch, the longest first; a tenth of it is padding at most.

    That makes a few batches more than filling each would, however many inputs there are: about one for each
    fifth by which lengths fall.
    """
    batch: list[int] = []
    tokens = 0
    for number in np.argsort(-np.asarray(lengths, np.int64), kind="stable").tolist():
        tokens += lengths[number]
        size = lengths[batch[0]] * (len(batch) + 1) if batch else 0
        if len(batch) == batch_size or tokens < (1 - MOST_PADDING) * size:
            yield batch
            batch, tokens = [], lengths[number]
        batch.append(number)
    if batch:
        yield batch


def by_row(problem: Problem, found: list[Prediction], data: "Dataset", rows: pl.DataFrame) -> pl.DataFrame:
    """Return a prediction per row of what was predicted for each input, both in order."""
    if "row" in data.column_names:
        of_rows: list[list[Prediction]] = [[] for _ in range(rows.height)]
        for of, prediction in zip(data.data["row"].to_pylist(), found, strict=True):
            # an input of several rows has a prediction for each of them
            each = zip(of, prediction, strict=True) if isinstance(of, list) else [(of, prediction)]
            for number, its in each:
                of_rows[number].append(its)
        pairs = zip(of_rows, rows.iter_rows(named=True), strict=True)
        found = [problem.gather(its, row) for its, row in pairs]
    return predictions.table(found, problem.columns)


def given(problem: Problem, names: list[str]) -> list[str]:
    """Return those of the encoded columns that a batch to be predicted is made of."""
    beside = {"length", "row", *problem.learned}
    return [name for name in names if name not in beside]


def without_carried(problem: Problem, batch: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a batch gives to the model."""
    return {name: values for name, values in batch.items() if name not in problem.carried}


def logits_of(model: "PreTrainedModel", inputs: Mapping[str, Any], known: Any = None) -> "Tensor":
    """Return what a model answers; `known` is what the Trainer has had it answer already."""
    found: Any = model(**inputs).logits if known is None else known
    # BART answers with more than logits
    logits: Tensor = found[0] if isinstance(found, tuple) else found
    return logits


def logits_by_row(
    model: "PreTrainedModel", inputs: Mapping[str, Any], known: Any = None
) -> "Iterator[Tensor]":
    """Yield what a language model answers to each row, (tokens, vocabulary), as `logits_of`.

    A few rows are answered at once, so that memory does not go with how many a batch has.
    """
    if known is not None:
        yield from logits_of(model, inputs, known)
        return
    rows, tokens = inputs["input_ids"].shape
    few = max(1, MOST_LOGITS // (tokens * model.config.get_text_config().vocab_size))
    for start in range(0, rows, few):
        yield from logits_of(model, {name: values[start : start + few] for name, values in inputs.items()})


def answers(model: "PreTrainedModel", batch: Mapping[str, Any], logits: Any = None) -> np.ndarray:
    """Return a classifier's logits (rows, labels) float32 for a batch."""
    found: np.ndarray = logits_of(model, batch, logits).float().cpu().numpy()
    return found
