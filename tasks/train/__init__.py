"""Fine-tune the base model and keep the checkpoint with the best validation metric."""

import os
import shutil
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks.problems import Problem
from tasks.shared import devices, environment
from tasks.shared.costs import COURSE
from tasks.shared.errors import MemoryFullError
from tasks.shared.params import Train
from tasks.shared.paths import Paths
from tasks.shared.role import role
from tasks.shared.tracking import Journal
from tasks.train import checkpoints

if TYPE_CHECKING:
    from threading import Event

    from transformers import TrainerCallback

    from tasks.train.together import Together
    from tasks.train.trainer import SeededTrainer
    from tasks.train.work import Work

# what memory has to hold whatever a step's rows are, and what to do where it does not
ALL_OF_IT = (
    "the model with its gradients and the optimizer's state; take a smaller model, or "
    "train.distributed.strategy fsdp on more devices"
)
# seconds; as in TrainingArguments
DDP_TIMEOUT = 1800


def train(
    params: Train,
    base: Path,
    problem: Problem,
    paths: Paths,
    resume: Path,
    journal: Journal | None = None,
    callbacks: "Sequence[TrainerCallback]" = (),
    ends: "Event | None" = None,
    *,
    retries: bool = True,
) -> None:
    """Write the checkpoint with the best `metric_for_best_model` on validation, its metrics and curves.

    base: the folder of the base model. resume: the folder of this training's own checkpoints; when it holds
    a whole one, training goes on from there to the same bytes as if never interrupted. journal: where
    trackers find what is measured. callbacks: more of the Trainer's. ends: asks training to keep a
    checkpoint after the step it is in and to exit, as SIGTERM does. retries: where memory is full, train
    again at once with smaller micro-batches; else raise MemoryFullError once it is written down which.
    Raises InputError for a metric or TrainingArguments value that does not exist.
    Under torchrun, called in every process, without retries: all of them have to begin again.
    """
    from tasks.train import micro_batch, outputs
    from tasks.train.follow import Tell
    from tasks.train.work import Work

    environment.leave_out()
    together = _meet(params, resume)
    together.refuse_another(resume)
    wanted = micro_batch.agreed(micro_batch.known(params, resume), resume, together)
    heard = [*callbacks] if journal is None else [Tell(journal), *callbacks]
    work = Work(wanted, base, problem, paths, resume, together, heard, ends)
    run, how = _fitted(work, retries=retries)
    if together.is_first:
        outputs.write(run, how, resume, paths)
    # what is kept is on the disk before anybody deletes
    together.wait()
    if together.is_first or together.has_own_disk:
        shutil.rmtree(resume, ignore_errors=True)


def _meet(params: Train, folder: Path) -> "Together":
    """Return the processes that train together; they know each other from now on, as the Trainer has them."""
    from accelerate import PartialState

    from tasks.train.together import Together

    mine = role()
    if mine.size > 1:
        seconds: Any = params.extra.get("ddp_timeout", DDP_TIMEOUT)
        on_cpu = devices.kind() == "cpu"
        PartialState(cpu=on_cpu, backend="gloo" if on_cpu else None, timeout=timedelta(seconds=seconds))
    return Together(folder, mine)


def _fitted(work: "Work", *, retries: bool) -> tuple["SeededTrainer", dict[str, Any]]:
    """Train as `_trained` does; where memory is full, with the next smaller micro-batches."""
    from tasks.train import micro_batch

    while True:
        try:
            with devices.holds(ALL_OF_IT):
                return _trained(work)
        except MemoryFullError:
            work = replace(work, params=micro_batch.smaller(work.params, work.resume))
            if not retries:
                raise
        # behind the except, whose error holds the frames that hold the model
        micro_batch.forget()


def _trained(work: "Work") -> tuple["SeededTrainer", dict[str, Any]]:
    """Train to the end, from the last whole checkpoint on; return the Trainer, and what to say of how.

    Raises MemoryFullError where memory does not hold a step.
    """
    from tasks.train import build
    from tasks.train.arguments import training_arguments
    from tasks.train.follow import End
    from tasks.train.work import read

    params, problem = work.params, work.problem
    precision, on_cpu = devices.precision(params.precision), devices.kind() == "cpu"
    _set_up(params.seed, on_cpu=on_cpu)
    tokens = read(work)
    selects = "loss" if problem.validation_rows == 0 else problem.headline
    best = (params.metric_for_best_model or selects).removeprefix("eval_")
    arguments = training_arguments(params, work.resume, precision, best, on_cpu=on_cpu)
    network, how = build.model(work, tokens, precision)
    run = build.trainer(work, tokens, network, arguments)
    if work.ends is not None:
        run.follow.ends = work.ends
    for callback in (*work.callbacks, End(run.follow)):
        run.add_callback(callback)
    last = _last(work)
    if last is None or not checkpoints.is_finished(last):
        run.train(resume_from_checkpoint=str(last) if last else None)
    return run, {"precision": precision, "processes": arguments.world_size, **how}


def _set_up(seed: int, *, on_cpu: bool) -> None:
    """Have the libraries be quiet, and draw all that they draw from the seed."""
    from datasets import disable_progress_bars
    from transformers import set_seed
    from transformers.utils import logging

    from tasks.train.cpu import memory

    disable_progress_bars()
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    if on_cpu:
        # before the weights take theirs
        memory.keep()
    # before the head is drawn
    set_seed(seed)
    if not on_cpu:
        _be_deterministic()


def _be_deterministic() -> None:
    """Have a GPU compute the same bits each time, or refuse to: strictly, and before there is a model.

    As transformers' enable_full_determinism, but for CUDA_LAUNCH_BLOCKING, which changes no bit and has each
    kernel waited for. cuDNN's attention has no deterministic backward pass.
    """
    import torch

    os.environ["CUBLAS_WORKSPACE_CONFIG"] = ":4096:8"
    os.environ["FLASH_ATTENTION_DETERMINISTIC"] = "1"
    torch.use_deterministic_algorithms(True)
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.benchmark = False
    torch.backends.cuda.enable_cudnn_sdp(False)


def _last(work: "Work") -> Path | None:
    """Return the checkpoint to go on from, once each machine has it; None where there is none."""
    found = checkpoints.last_whole(work.resume) if work.together.is_first else None
    last = work.together.spread(found)
    COURSE.is_rest |= last is not None
    if last is not None and work.together.is_first:
        print(f"going on from {last.name} of an interrupted run", flush=True)
    return last
