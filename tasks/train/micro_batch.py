"""How a step's rows are cut into micro-batches: what each counts for, and smaller ones where memory is full.

The Trainer divides a model's loss by the items of the whole step where the model's signature takes
`num_items_in_batch`. Many models (BERT's heads) take it and return a mean all the same; `is_mean` finds out.
"""

import gc
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from transformers import TrainingArguments

from tasks.shared import devices
from tasks.shared.errors import InputError, MemoryFullError
from tasks.shared.files import read_json, replace
from tasks.shared.params import Train
from tasks.train import checkpoints
from tasks.train.together import Together

if TYPE_CHECKING:
    from tasks.train.trainer import SeededTrainer

# beside the checkpoints: what memory was found to hold
FOUND = "micro_batch.json"


def is_mean(run: "SeededTrainer", batch: Mapping[str, Any]) -> bool:
    """Return whether the loss of a micro-batch stays what it is when it is to be of twice as many items."""
    model = run.model
    was_training = model.training
    model.eval()
    losses = []
    with torch.no_grad(), run.compute_loss_context_manager():
        for items in (1, 2):
            inputs = run._prepare_inputs(dict(batch))  # noqa: SLF001 (the Trainer's own)
            count = torch.tensor(items, device=run.args.device)
            losses.append(run.compute_loss(model, inputs, num_items_in_batch=count))
    model.train(was_training)
    one, half = losses
    return bool(torch.isclose(one, half, rtol=1e-3, atol=0.0, equal_nan=True))


def num_items(model: Any, batch: Mapping[str, Any]) -> int:
    """Return of how many items a model's mean is: labels that are there; rows where that is not known."""
    labels = batch.get("labels")
    is_by_row = getattr(model.config, "ctc_loss_reduction", None) is not None
    if labels is None or is_by_row:
        return len(next(iter(batch.values())))
    return labels.numel() if labels.is_floating_point() else int(labels.ne(-100).sum())


@contextmanager
def fits(args: TrainingArguments) -> Iterator[None]:
    """Raise MemoryFullError when the device's memory does not hold what is done within."""
    try:
        yield
    except torch.OutOfMemoryError:
        rows = args.per_device_train_batch_size
        full = f"memory does not hold {rows} train rows at once"
        again = "run the same command again, which goes on with fewer rows at once and as many in a step"
        raise MemoryFullError(f"{full}; {again}") from None


def known(params: Train, folder: Path) -> Train:
    """Return the params with the micro-batch that was found to fit, in this training's own folder."""
    found = _found(folder)
    return params.model_copy(update=found[-1]["as"]) if found else params


def agreed(params: Train, folder: Path, together: Together) -> Train:
    """Return params with the fewest rows that any process has found to fit, written down on each disk."""
    fewest = together.least(params.per_device_train_batch_size)
    while params.per_device_train_batch_size > fewest:
        params = smaller(params, folder)
    return params


def smaller(params: Train, folder: Path) -> Train:
    """Return params with smaller micro-batches and as many rows in a step, and write them down.

    Checkpoints that were kept by the clock are deleted: what a step is made of must not depend on it. Raises
    InputError where a micro-batch is one row.
    """
    rows, steps = params.per_device_train_batch_size, params.gradient_accumulation_steps
    if rows == 1:
        raise InputError(
            "memory does not hold a step of one row; take a lower tokenize.max_length or a smaller model, "
            "set train.activation_checkpointing, or train.distributed.strategy fsdp on more devices"
        )
    factor = next(number for number in range(2, rows + 1) if rows % number == 0)
    change = {
        "per_device_train_batch_size": rows // factor,
        "gradient_accumulation_steps": steps * factor,
    }
    last = _last_evaluated(folder)
    told = _found(folder)
    # another process may have said so already
    if not told or told[-1]["as"] != change:
        replace(folder / FOUND, json.dumps([*told, {"from_step": last, "as": change}]))
    now = f"{rows // factor} rows, {steps * factor} times a step"
    print(f"memory is full: micro-batches are {now} instead of {rows}, from step {last} on", flush=True)
    return params.model_copy(update=change)


def history(folder: Path) -> list[dict[str, int]]:
    """Return from which step on which micro-batch was used, where memory did not hold the one asked for."""
    return [{"from_step": found["from_step"], **found["as"]} for found in _found(folder)]


def forget() -> None:
    """Let go of the memory of a training that nothing refers to any more but what is its own."""
    # a model that accelerate has prepared holds itself, by its forward
    gc.collect()
    if devices.kind() == "cuda":
        torch.cuda.empty_cache()


def _found(folder: Path) -> list[dict[str, Any]]:
    try:
        found: list[dict[str, Any]] = read_json(folder / FOUND)
    except FileNotFoundError:
        return []
    return found


def _last_evaluated(folder: Path) -> int:
    """Return the step of the last checkpoint that an evaluation has ended with, and delete later ones."""
    for step, path in sorted(checkpoints.by_step(folder).items(), reverse=True):
        if checkpoints.damage(path) is None and _is_evaluated(path, step):
            return step
        # as another process may have done
        with suppress(FileNotFoundError):
            checkpoints.remove(path)
    return 0


def _is_evaluated(checkpoint: Path, step: int) -> bool:
    log = read_json(checkpoint / checkpoints.STATE)["log_history"]
    return any(entry["step"] == step and "eval_loss" in entry for entry in log)
