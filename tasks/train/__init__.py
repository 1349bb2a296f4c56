"""Fine-tune the base model and keep the checkpoint with the best validation metric."""

import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from tasks.problems import Problem, Processor, Targets
from tasks.problems.common import predicting, pretrained
from tasks.shared import columns, converted_models, devices, environment, progress
from tasks.shared.costs import COURSE
from tasks.shared.errors import InputError, MemoryFullError
from tasks.shared.files import digests, read_json, replace, sha256, write_json
from tasks.shared.keys import fingerprint
from tasks.shared.locks import alone, alone_if_free
from tasks.shared.params import Params, Train
from tasks.shared.paths import Paths
from tasks.shared.role import role
from tasks.shared.stage import warn
from tasks.shared.tracking import Journal
from tasks.train import checkpoints

if TYPE_CHECKING:
    from threading import Event

    from datasets import Dataset
    from transformers import PreTrainedModel, TrainerCallback, TrainingArguments

    from tasks.train.together import Together
    from tasks.train.trainer import EpochSampler, SeededTrainer

INTERRUPTED = Path(".retrain/checkpoints")  # outside the outputs, which DVC deletes before a stage runs
# at least as many as may be under way at once: whoever begins again first after all were killed is to leave
# the others theirs
KEEP_INTERRUPTED = 10
# the endings of what a model and its processor are saved in
KEPT = (".safetensors", ".json", ".txt", ".model", ".jinja")
# shards of weights, gradients and states; how they are saved is tasks.train.sharded's
SHARDED: dict[str, Any] = {
    "fsdp": True,
    "fsdp_config": {"version": 2, "state_dict_type": "SHARDED_STATE_DICT", "reshard_after_forward": True},
}
KEY = re.compile("[0-9a-f]{16}")
# in a training's folder: how many began before it, which no clock that is set back can turn round
TURN = "turn"
# what memory has to hold whatever a step's rows are, and what to do where it does not
ALL_OF_IT = (
    "the model with its gradients and the optimizer's state; take a smaller model, or "
    "train.distributed.strategy fsdp on more devices"
)
# seconds; as in TrainingArguments
DDP_TIMEOUT = 1800
# and by how many processes, of which strategy, it is trained
PROCESSES = "processes.json"


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
    from tasks.train import micro_batch

    environment.leave_out()
    together = _meet(params, resume)
    together.refuse_another(resume)
    wanted = micro_batch.agreed(micro_batch.known(params, resume), resume, together)
    while True:
        try:
            with devices.holds(ALL_OF_IT):
                run, how = _trained(wanted, base, problem, paths, resume, together, journal, callbacks, ends)
            break
        except MemoryFullError:
            wanted = micro_batch.smaller(wanted, resume)
            if not retries:
                raise
        # behind the except, whose error holds the frames that hold the model
        micro_batch.forget()
    if together.is_first:
        _write_outputs(run, how, resume, paths)
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
        on_cpu = devices.is_cpu()
        PartialState(cpu=on_cpu, backend="gloo" if on_cpu else None, timeout=timedelta(seconds=seconds))
    return Together(folder, mine)


def _write_outputs(run: "SeededTrainer", how: dict[str, Any], resume: Path, paths: Paths) -> None:
    """Write the best checkpoint, its metrics and curves."""
    from tasks.train import micro_batch, trainer

    state = _state(checkpoints.last_whole(resume), run.state.global_step)
    _keep(resume / f"checkpoint-{state['best_global_step']}", paths)
    how |= run.problem.calibrate(paths.checkpoint, run.validation, run.rows, run.targets)
    smaller = micro_batch.history(resume)
    how |= {"micro_batches": smaller} if smaller else {}
    _say_scores(state, paths, how)
    trainer.write_curves(state["log_history"], paths.curves)


def _trained(
    params: Train,
    base: Path,
    problem: Problem,
    paths: Paths,
    resume: Path,
    together: "Together",
    journal: Journal | None,
    callbacks: "Sequence[TrainerCallback]",
    ends: "Event | None",
) -> tuple["SeededTrainer", dict[str, Any]]:
    """Train to the end, from the last whole checkpoint on; return the Trainer, and what to say of how.

    Raises MemoryFullError where memory does not hold a step.
    """
    from datasets import Dataset

    from tasks.train import trainer

    problem.media = paths.media
    precision, on_cpu = devices.precision(params.precision), devices.is_cpu()
    _set_up(params.seed, on_cpu=on_cpu)
    processor = problem.load_processor(paths.tokens / "tokenizer")
    data = {
        split: Dataset.from_file(str(paths.tokens / f"{split}.arrow")) for split in ("train", "validation")
    }
    selects = "loss" if problem.validation_rows == 0 else problem.headline
    best = (params.metric_for_best_model or selects).removeprefix("eval_")
    arguments = training_arguments(params, resume, precision, best, on_cpu=on_cpu)
    targets = read_json(paths.tokens / "targets.json")
    longest = _longest(data["train"])
    network, how = _model(params, base, problem, processor, targets, precision, longest, together)
    run = _trainer(params, problem, paths, network, processor, targets, data, arguments, together)
    if ends is not None:
        run.follow.ends = ends
    tell = [trainer.Tell(journal)] if journal is not None else []
    for callback in (*tell, *callbacks, trainer.End(run.follow)):
        run.add_callback(callback)
    last = checkpoints.last_whole(resume) if together.is_first else None
    last = together.spread(last)
    COURSE.is_rest |= last is not None
    if last is not None and together.is_first:
        print(f"going on from {last.name} of an interrupted run", flush=True)
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


def _model(
    params: Train,
    base: Path,
    problem: Problem,
    processor: Processor,
    targets: Targets,
    precision: str,
    longest: tuple[int, int | None],
    together: "Together",
) -> tuple["PreTrainedModel", dict[str, Any]]:
    """Return the model to train, with what metrics/train.json is to say of it.

    longest: tokens in the longest row, and in the longest list of labels if they are lists. Raises InputError
    when memory cannot hold a step.
    """
    from tasks.train import attention, sharded, size

    free = devices.free_memory()
    size.refuse_before_loading(base, size.weights_on_disk(base))
    network, warnings = problem.model(base, processor, targets)
    size.freeze(network, params.freeze)
    attention.choose(network, params.attn_implementation, precision)
    its_size = size.measured(network, params, precision, *longest)
    if params.distributed.strategy == "fsdp":
        sharded.refuse(network, problem, params)
    if together.is_first:
        print(size.in_words(its_size), flush=True)
    size.refuse_too_large(its_size, free, params)
    said = warn(warnings) if together.is_first else {}
    return network, {**its_size, **converted_models.origin(base), **said}


def _longest(data: "Dataset") -> tuple[int, int | None]:
    """Return the most tokens that a row has, and the most labels where they are lists."""
    import pyarrow as pa
    import pyarrow.compute as pc

    table = data.data
    labels = table["labels"] if "labels" in table.column_names else None
    are_lists = labels is not None and pa.types.is_list(labels.type)
    return pc.max(table["length"]).as_py(), pc.max(
        pc.list_value_length(labels)
    ).as_py() if are_lists else None


def _trainer(
    params: Train,
    problem: Problem,
    paths: Paths,
    network: "PreTrainedModel",
    processor: Processor,
    targets: Targets,
    data: Mapping[str, "Dataset"],
    arguments: "TrainingArguments",
    together: "Together",
) -> "SeededTrainer":
    """Return the Trainer, once two rows have shown that the model's answers do not depend on padding."""
    from tasks.train import attention, cpu, frozen
    from tasks.train.epochs import AugmentedRows
    from tasks.train.sharded_trainer import ShardedTrainer
    from tasks.train.trainer import SeededTrainer

    sampler = _sampler(params, data["train"], arguments.world_size)
    its_targets = pl.read_parquet(paths.split("train"), columns=columns.targets(problem.columns))
    kind = ShardedTrainer if params.distributed.strategy == "fsdp" else SeededTrainer
    run = kind(
        sampler=sampler,
        curves=paths.curves,
        problem=problem,
        targets=targets,
        rows=pl.read_parquet(paths.split("validation")),
        model=network,
        args=arguments,
        train_dataset=AugmentedRows(data["train"], problem, processor, sampler)
        if problem.augments
        else data["train"],
        eval_dataset=data["validation"],
        processing_class=processor,
        data_collator=problem.collator(processor),
        train_collator=problem.flat_collator() if params.padding_free else None,
        compute_loss_func=problem.loss(its_targets, targets, params),
        callbacks=_early_stopping(params),
        together=together,
    )
    if arguments.use_cpu and params.cpu_shortcuts == "auto":
        other = cpu.quicken(run)
        if other and together.is_first:
            print(f"train.cpu_shortcuts are left out: {other}", flush=True)
    some = _shortest_and_longest(data["train"], predicting.given(problem, data["train"].column_names))
    pretrained.try_out(network, problem.probe, problem.collator(processor), some)
    if params.attn_implementation == attention.FLASH:
        attention.use(network, attention.FLASH)
    frozen.keep(run, params, data)
    return run


def _sampler(params: Train, data: "Dataset", processes: int) -> "EpochSampler":
    """Return the order of train rows; raise InputError where there are fewer rows than processes."""
    from tasks.train.trainer import EpochSampler

    batch = params.per_device_train_batch_size * params.gradient_accumulation_steps * processes
    lengths = data.data["length"].to_pylist()
    if len(lengths) < processes:
        few = f"{processes} processes would train on {len(lengths)} train rows"
        raise InputError(f"train.distributed: {few}; start as many as there are rows at most")
    return EpochSampler(lengths, batch, params.train_sampling_strategy, params.seed)


def _early_stopping(params: Train) -> list["TrainerCallback"]:
    from transformers import EarlyStoppingCallback

    patience = params.early_stopping_patience
    return [EarlyStoppingCallback(patience, params.early_stopping_threshold)] if patience else []


def training_arguments(
    params: Train,
    output_dir: Path,
    precision: str,
    best: str,
    *,
    on_cpu: bool,
) -> "TrainingArguments":
    """Return the Trainer's arguments; raise InputError when it, the optimizer or its schedule takes no value.

    best: the validation metric that selects the checkpoint. Whether more of it is better is known when it is
    measured.
    """
    from transformers import TrainingArguments

    ours = {"precision", "cpu_shortcuts", "class_weights", "distributed", "num_threads", "freeze", "extra"}
    ours |= {"encoder_cache", "early_stopping_patience", "early_stopping_threshold"}
    ours |= {"attn_implementation", "padding_free"}
    named: dict[str, Any] = params.model_dump(exclude=ours) | {"metric_for_best_model": best}
    try:
        arguments = TrainingArguments(
            **named,
            # else it would say in all processes but the first what is quiet there
            **{"log_level_replica": "error", **params.extra},
            **(SHARDED if params.distributed.strategy == "fsdp" else {}),
            output_dir=str(output_dir),
            save_strategy=params.eval_strategy,
            save_steps=params.eval_steps,
            # tasks.train.checkpoints deletes: the Trainer does by the clock, and before the next one is whole
            save_total_limit=None,
            load_best_model_at_end=True,
            # it would hide that training diverges, and ask the device after every step
            logging_nan_inf_filter=False,
            greater_is_better=not best.endswith("loss"),
            restore_callback_states_from_checkpoint=True,
            bf16=precision == "bf16",
            fp16=precision == "fp16",
            use_cpu=on_cpu,
            ddp_backend="gloo" if on_cpu and role().is_started else None,
            dataloader_pin_memory=not on_cpu,
            report_to="none",
            disable_tqdm=True,
        )
        _try_out(arguments)
    except (ValueError, TypeError, LookupError, ImportError) as error:
        raise InputError(f"TrainingArguments does not take this: {' '.join(str(error).split())}") from None
    return arguments


def _try_out(arguments: "TrainingArguments") -> None:
    """Make the optimizer and schedule of one weight, so that what they do not take is said before a model is.

    Raises what they raise. Nothing is drawn.
    """
    import torch
    from transformers import Trainer, get_scheduler

    arguments.get_process_log_level()
    kind, how = Trainer.get_optimizer_cls_and_kwargs(arguments)
    optimizer = kind([torch.nn.Parameter(torch.zeros(1))], **how)
    get_scheduler(arguments.lr_scheduler_type, optimizer, 1, 2, arguments.lr_scheduler_kwargs)


def _shortest_and_longest(data: "Dataset", names: list[str]) -> list[dict[str, Any]]:
    """Return some of the columns of two rows."""
    lengths = data.data["length"].to_pylist()
    rows = data.select_columns(names)
    return [rows[lengths.index(length)] for length in (min(lengths), max(lengths))]


def _state(last: Path | None, trained: int) -> dict[str, Any]:
    """Return the Trainer's state at its last checkpoint.

    trained: the step that this process has trained to; 0 when there was nothing left to do. Raises InputError
    when nothing was evaluated: no checkpoint is best then.
    """
    state: dict[str, Any] = {} if last is None else read_json(last / "trainer_state.json")
    if trained > state.get("global_step", 0):
        damaged = f"a checkpoint was damaged on the disk before training ended at step {trained}"
        raise InputError(f"{damaged}; run the same command again, which goes on from what is whole")
    if state.get("best_global_step") is None:
        nothing = "training ended before anything was evaluated, so there is no best checkpoint"
        raise InputError(f"{nothing}; train longer, or lower train.extra's eval_delay")
    return state


def _keep(best: Path, paths: Paths) -> None:
    """Copy the model and processor of the best checkpoint, not the optimizer, whole or in shards."""
    paths.checkpoint.mkdir(parents=True, exist_ok=True)
    for file in sorted(best.iterdir()):
        is_to_go_on_from = file.name == checkpoints.STATE or file.name.startswith(checkpoints.SHARD)
        if file.suffix in KEPT and not is_to_go_on_from:
            shutil.copyfile(file, paths.checkpoint / file.name)


def _say_scores(state: dict[str, Any], paths: Paths, how: dict[str, Any]) -> None:
    """Write what the best checkpoint scored on validation."""
    from tasks.train.trainer import evaluations, validation_names

    at_best = [entry for entry in state["log_history"] if entry["step"] == state["best_global_step"]]
    scored = next(entry for entry in at_best if "eval_loss" in entry)
    losses = [entry["loss"] for entry in state["log_history"] if "loss" in entry]
    write_json(
        paths.metric("train"),
        {
            "steps": state["global_step"],
            "best_step": state["best_global_step"],
            "best_epoch": scored["epoch"],
            "train_loss": losses[-1] if losses else None,
            "validation": {name: scored[f"eval_{name}"] for name in validation_names(scored)},
            "evaluations": evaluations(state["log_history"]),
            **how,
            **devices.describe(),
        },
    )


@contextmanager
def resume_folder(
    params: Params, paths: Paths, processes: int, device: Mapping[str, str | int] | None = None
) -> Iterator[Path]:
    """Yield the folder for this training's checkpoints, named by all that decides its bits, held alone.

    device: what it trains on; None: this process's. Those of the oldest trainings are dropped. An equal
    training that is dying, because the run that started it was killed, is waited for. Of several processes
    the first one holds it.
    """
    decides = {
        "params": params.model_dump(include={"problem", "model", "train", params.problem}),
        "tokens": digests(paths.tokens),
        "validation": sha256(paths.split("validation")),
        "device": device or devices.describe(),
        "processes": processes,
    }
    folder = INTERRUPTED / fingerprint(params.problem, decides)
    if not role().is_first:
        yield folder
        return
    INTERRUPTED.mkdir(parents=True, exist_ok=True)
    with alone(_lock(folder)):
        folder.mkdir(exist_ok=True)
        trainings = [path for path in INTERRUPTED.iterdir() if KEY.fullmatch(path.name) and path.is_dir()]
        others = sorted((path for path in trainings if path != folder), key=_turn)
        replace(folder / TURN, f"{_turn(others[-1]) + 1 if others else 1}\n")
        interrupted = [path for path in others if any(path.glob("checkpoint-*"))]
        _say_other_processes(folder, interrupted, params, decides)
        for path in set(others).difference(interrupted[-KEEP_INTERRUPTED + 1 :]):
            with alone_if_free(_lock(path)) as is_old:
                # one that is training now is not
                if is_old:
                    shutil.rmtree(path)
        progress.keeps_in(folder)
        yield folder


def _say_other_processes(
    folder: Path, interrupted: list[Path], params: Params, decides: dict[str, Any]
) -> None:
    """Write down how many processes train here, and say where others do the same as other ones."""
    alike = params.model_dump(include={"problem", "model", "train", params.problem})
    alike["train"] = {name: value for name, value in alike["train"].items() if name != "distributed"}
    told = {**decides, "params": alike, "processes": None}
    its = {
        "but_for_processes": fingerprint(params.problem, told),
        "processes": decides["processes"],
        "strategy": params.train.distributed.strategy,
    }
    replace(folder / PROCESSES, json.dumps(its))
    for other in reversed(interrupted):
        known = _processes(other)
        if known.keys() == its.keys() and known["but_for_processes"] == its["but_for_processes"]:
            then, now = (f"{each['processes']} ({each['strategy']})" for each in (known, its))
            print(
                f"an interrupted training by {then} processes is kept; this one by {now} starts anew, "
                "because other bits come of it",
                flush=True,
            )


def _processes(folder: Path) -> dict[str, Any]:
    """Return what a training has written down of its processes; nothing when that is torn or not there."""
    try:
        known = read_json(folder / PROCESSES)
    except (OSError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}


def _turn(folder: Path) -> int:
    """Return which of the trainings kept here this one is; 0 when that is not known."""
    try:
        return int((folder / TURN).read_text("ascii"))
    except (OSError, ValueError):
        return 0


def _lock(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.lock")
