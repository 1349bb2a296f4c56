"""The model that is trained and the Trainer that trains it, each looked at before the first step."""

from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
from datasets import Dataset
from transformers import PreTrainedModel, TrainingArguments

from tasks.problems.common import predicting, pretrained
from tasks.shared import columns, converted_models, devices
from tasks.shared.errors import InputError
from tasks.shared.params import Train
from tasks.shared.stage import warn
from tasks.train import attention, cpu, frozen, sharded, size
from tasks.train.arguments import early_stopping
from tasks.train.epochs import AugmentedRows, EpochSampler
from tasks.train.sharded_trainer import ShardedTrainer
from tasks.train.trainer import SeededTrainer
from tasks.train.work import Tokens, Work


def model(work: Work, tokens: Tokens, precision: str) -> tuple[PreTrainedModel, dict[str, Any]]:
    """Return the model to train, with what metrics/train.json is to say of it.

    Raises InputError when memory cannot hold a step.
    """
    params, base = work.params, work.base
    free = devices.free_memory()
    size.refuse_before_loading(base, size.weights_on_disk(base))
    network, warnings = work.problem.model(base, tokens.processor, tokens.targets)
    size.freeze(network, params.freeze)
    attention.choose(network, params.attn_implementation, precision)
    its_size = size.measured(network, params, precision, *_longest(tokens.data["train"]))
    if params.distributed.strategy == "fsdp":
        sharded.refuse(network, work.problem, params)
    if work.together.is_first:
        print(size.in_words(its_size), flush=True)
    size.refuse_too_large(its_size, free, params)
    said = warn(warnings) if work.together.is_first else {}
    return network, {**its_size, **converted_models.origin(base), **said}


def _longest(data: Dataset) -> tuple[int, int | None]:
    """Return the most tokens that a row has, and the most labels where they are lists."""
    table = data.data
    labels = table["labels"] if "labels" in table.column_names else None
    are_lists = labels is not None and pa.types.is_list(labels.type)
    return pc.max(table["length"]).as_py(), pc.max(
        pc.list_value_length(labels)
    ).as_py() if are_lists else None


def trainer(
    work: Work, tokens: Tokens, network: PreTrainedModel, arguments: TrainingArguments
) -> SeededTrainer:
    """Return the Trainer, once two rows have shown that the model's answers do not depend on padding."""
    params, problem, data = work.params, work.problem, tokens.data
    run = _made(work, tokens, network, arguments)
    some = _shortest_and_longest(data["train"], predicting.given(problem, data["train"].column_names))
    pretrained.try_out(network, problem.probe, problem.collator(tokens.processor), some)
    if params.attn_implementation == attention.FLASH:
        attention.use(network, attention.FLASH)
    frozen.keep(run, params, data)
    return run


def _made(
    work: Work, tokens: Tokens, network: PreTrainedModel, arguments: TrainingArguments
) -> SeededTrainer:
    """Return the Trainer of this strategy, with less work for a CPU."""
    params, problem, paths, data = work.params, work.problem, work.paths, tokens.data
    sampler = _sampler(params, data["train"], arguments.world_size)
    rows: Any = data["train"]
    if problem.augments:
        rows = AugmentedRows(rows, problem, tokens.processor, sampler)
    its_targets = pl.read_parquet(paths.split("train"), columns=columns.targets(problem.columns))
    kind = ShardedTrainer if params.distributed.strategy == "fsdp" else SeededTrainer
    run = kind(
        sampler=sampler,
        curves=paths.curves,
        problem=problem,
        targets=tokens.targets,
        rows=pl.read_parquet(paths.split("validation")),
        model=network,
        args=arguments,
        train_dataset=rows,
        eval_dataset=data["validation"],
        processing_class=tokens.processor,
        data_collator=problem.collator(tokens.processor),
        train_collator=problem.flat_collator() if params.padding_free else None,
        compute_loss_func=problem.loss(its_targets, tokens.targets, params),
        callbacks=early_stopping(params),
        together=work.together,
    )
    if arguments.use_cpu and params.cpu_shortcuts == "auto":
        other = cpu.quicken(run)
        if other and work.together.is_first:
            print(f"train.cpu_shortcuts are left out: {other}", flush=True)
    return run


def _sampler(params: Train, data: Dataset, processes: int) -> EpochSampler:
    """Return the order of train rows; raise InputError where there are fewer rows than processes."""
    batch = params.per_device_train_batch_size * params.gradient_accumulation_steps * processes
    lengths = data.data["length"].to_pylist()
    if len(lengths) < processes:
        few = f"{processes} processes would train on {len(lengths)} train rows"
        raise InputError(f"train.distributed: {few}; start as many as there are rows at most")
    return EpochSampler(lengths, batch, params.train_sampling_strategy, params.seed)


def _shortest_and_longest(data: Dataset, names: list[str]) -> list[dict[str, Any]]:
    """Return some of the columns of two rows."""
    lengths = data.data["length"].to_pylist()
    rows = data.select_columns(names)
    return [rows[lengths.index(length)] for length in (min(lengths), max(lengths))]
