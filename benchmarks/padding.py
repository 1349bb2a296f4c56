"""The share of a batch that is padding, for each problem on the data set of its params file in examples/.

Train rows as they come (a plain Trainer), sorted within 50 batches at a time (`group_by_length`), and as
we order them; test rows as they come and as we predict them. Nothing is trained: batches are counted.
"""

import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

from benchmarks.examples import by_example, prepare
from benchmarks.measure import Options, Table
from tasks.shared.params import Params

LIMIT = 0.10
COLUMNS = (
    "params file",
    "problem",
    "train rows as they come",
    "group_by_length",
    "ours",
    "test rows as they come",
    "ours",
    "target",
)


def measure(options: Options) -> list[Table]:
    """Return the shares; those of a data set that is not there are named in a note."""
    return [by_example(Table("Padding in a batch", COLUMNS), options, _shares)]


def _shares(params: Params) -> list[str]:
    """Return a row of the table."""
    from datasets import Dataset

    from tasks.problems.common.predicting import batches

    with tempfile.TemporaryDirectory(prefix="retrain-bench-") as folder:
        tokens = prepare(params, Path(folder)).tokens
        train, test = (
            Dataset.from_file(str(tokens / f"{name}.arrow")).data["length"].to_pylist()
            for name in ("train", "test")
        )
    size, at_once = params.train.per_device_train_batch_size, params.evaluate.batch_size
    ours = [train[row] for row in _our_order(train, params)]
    trained = [ours[start : start + size] for start in range(0, len(ours), size)]
    if params.problem == "sentence_similarity":
        # which reads a batch in parts
        trained = [[batch[row] for row in part] for batch in trained for part in batches(batch, size)]
    predicted = [[test[row] for row in batch] for batch in batches(test, at_once)]
    shares = [
        _padding(_shuffled(train), size),
        _padding(_grouped(train, size), size),
        _padding_of(trained),
        _padding(test, at_once),
        _padding_of(predicted),
    ]
    worst = max(shares[2], shares[4])
    verdict = f"<= {LIMIT:.0%} {'met' if worst <= LIMIT else 'MISSED'}"
    return [params.problem, *(f"{share:.1%}" for share in shares), verdict]


def _our_order(lengths: Sequence[int], params: Params) -> Iterable[int]:
    from tasks.train.epochs import EpochSampler

    return EpochSampler(
        lengths,
        params.train.per_device_train_batch_size,
        params.train.train_sampling_strategy,
        params.train.seed,
    )


def _shuffled(lengths: Sequence[int]) -> list[int]:
    import torch

    order = torch.randperm(len(lengths), generator=torch.Generator().manual_seed(0))
    return [lengths[row] for row in order.tolist()]


def _grouped(lengths: Sequence[int], size: int) -> list[int]:
    import torch
    from transformers.trainer_pt_utils import get_length_grouped_indices

    order = get_length_grouped_indices(list(lengths), size, generator=torch.Generator().manual_seed(0))
    return [lengths[row] for row in order]


def _padding(lengths: Iterable[int], size: int) -> float:
    """Return which share of batches of so many rows is padding."""
    rows = list(lengths)
    return _padding_of([rows[start : start + size] for start in range(0, len(rows), size)])


def _padding_of(made: list[list[int]]) -> float:
    """Return which share of batches, each as long as its longest row, is padding."""
    return 1 - sum(map(sum, made)) / sum(len(batch) * max(batch) for batch in made)
