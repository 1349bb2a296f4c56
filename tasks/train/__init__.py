"""Fine-tune the base model on the tokenized splits and keep the checkpoint with the best validation metric."""

import os
import re
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks import problems as problems
from tasks.problems import Problem
from tasks.problems.common import pretrained
from tasks.shared import base_models, devices
from tasks.shared import slots as slots
from tasks.shared.errors import InputError, did_you_mean
from tasks.shared.files import digests, read_json, replace, write_json
from tasks.shared.keys import fingerprint
from tasks.shared.locks import alone, alone_if_free
from tasks.shared.params import Model, Params, Train
from tasks.shared.stage import stage as stage
from tasks.shared.stage import warn

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import TrainingArguments

INTERRUPTED = Path(".retrain/checkpoints")  # outside the outputs, which DVC deletes before a stage runs
KEEP_INTERRUPTED = 3
KEY = re.compile("[0-9a-f]{16}")
# in a training's folder: how many began before it, which no clock that is set back can turn round
TURN = "turn"


def train(params: Train, model: Model, problem: Problem, tokens: Path, checkpoint: Path, metrics: Path, plots: Path, resume: Path) -> None:
    """Write the checkpoint with the best `metric_for_best_model` on validation, its metrics and the learning curves.

    tokens: train.arrow and validation.arrow as tokenize writes them, the tokenizer and labels.json. resume: the folder of this
    training's own checkpoints; when it holds a whole one, training goes on from there to the same bytes as if never interrupted.
    Raises InputError for a metric or TrainingArguments value that does not exist. Under torchrun, called in every process.
    """
    from datasets import Dataset, disable_progress_bars
    from transformers import EarlyStoppingCallback, enable_full_determinism, set_seed
    from transformers.utils import logging

    from tasks.train import checkpoints, cpu, trainer
    from tasks.train.cpu import memory

    disable_progress_bars()
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    precision = devices.precision(params.precision)
    on_cpu = devices.is_cpu()
    if on_cpu:
        memory.keep()  # before the weights take theirs
    (set_seed if on_cpu else enable_full_determinism)(params.seed)  # before the head is drawn
    labels: list[str] = read_json(tokens / "labels.json")["labels"]
    processor = problem.load_processor(tokens / "tokenizer")
    network, warnings = problem.model(base_models.fetch(model), labels, processor)
    data = {split: Dataset.from_file(str(tokens / f"{split}.arrow")) for split in ("train", "validation")}
    arguments = training_arguments(params, resume, precision, on_cpu=on_cpu)
    batch = params.per_device_train_batch_size * params.gradient_accumulation_steps * arguments.world_size
    sampler = trainer.EpochSampler(data["train"].data["length"].to_pylist(), batch, params.train_sampling_strategy, params.seed)
    patience = params.early_stopping_patience
    run = trainer.SeededTrainer(
        sampler=sampler,
        curves=plots,
        model=network,
        args=arguments,
        train_dataset=data["train"],
        eval_dataset=data["validation"],
        processing_class=processor,
        data_collator=problem.collator(processor),
        compute_metrics=problem.compute_metrics,
        preprocess_logits_for_metrics=problem.reduce_logits,
        callbacks=[EarlyStoppingCallback(patience, params.early_stopping_threshold)] if patience else [],
    )
    if on_cpu and params.cpu_shortcuts == "auto":
        cpu.quicken(run)
    pretrained.try_out(network, problem.collator(processor), _shortest_and_longest(data["train"]))
    # the others look when the first one has deleted what is not whole
    with arguments.main_process_first(local=False):
        last = checkpoints.last_whole(resume)
    if last is not None:
        print(f"going on from {last.name} of an interrupted run", flush=True)
    if last is None or not checkpoints.is_finished(last):
        try:
            run.train(resume_from_checkpoint=str(last) if last else None)
        except KeyError as error:
            if "metric_for_best_model" not in str(error):
                raise
            known = trainer.validation_names(dict.fromkeys(run.state.log_history[-1]))
            raise InputError(
                f"train.metric_for_best_model: there is no validation metric '{params.metric_for_best_model}'"
                f"{did_you_mean(params.metric_for_best_model, known)} Known: {', '.join(known)}"
            ) from None
    if run.is_world_process_zero():
        state = _state(checkpoints.last_whole(resume), run.state.global_step)
        _keep(
            resume / f"checkpoint-{state['best_global_step']}",
            state,
            checkpoint,
            metrics,
            {"precision": precision, "processes": arguments.world_size, **warn(warnings)},
        )
        trainer.write_curves(state["log_history"], plots)
        shutil.rmtree(resume)


def training_arguments(params: Train, output_dir: Path, precision: str, *, on_cpu: bool) -> "TrainingArguments":
    """Return the Trainer's arguments; raise InputError when it does not take a value."""
    from transformers import TrainingArguments

    ours = {"precision", "cpu_shortcuts", "nproc_per_node", "num_threads", "extra"}
    ours |= {"early_stopping_patience", "early_stopping_threshold"}
    named: dict[str, Any] = params.model_dump(exclude=ours)
    try:
        return TrainingArguments(
            **named,
            **params.extra,
            output_dir=str(output_dir),
            save_strategy=params.eval_strategy,
            save_steps=params.eval_steps,
            # the Trainer would delete by the clock, and before the next one is whole: tasks.train.checkpoints does it
            save_total_limit=None,
            load_best_model_at_end=True,
            # it would hide that training diverges, and ask the device after every step
            logging_nan_inf_filter=False,
            greater_is_better=not params.metric_for_best_model.endswith("loss"),
            restore_callback_states_from_checkpoint=True,
            bf16=precision == "bf16",
            fp16=precision == "fp16",
            use_cpu=on_cpu,
            ddp_backend="gloo" if on_cpu and "WORLD_SIZE" in os.environ else None,
            dataloader_pin_memory=not on_cpu,
            report_to="none",
            disable_tqdm=True,
        )
    except (ValueError, TypeError, ImportError) as error:
        raise InputError(f"TrainingArguments does not take this: {' '.join(str(error).split())}") from None


def _shortest_and_longest(data: "Dataset") -> list[dict[str, Any]]:
    """Return the model's inputs of two rows."""
    lengths = data.data["length"].to_pylist()
    rows = data.remove_columns(["length", "labels"])
    return [rows[lengths.index(length)] for length in (min(lengths), max(lengths))]


def _state(last: Path | None, trained: int) -> dict[str, Any]:
    """Return the Trainer's state at its last checkpoint; raise InputError when nothing was evaluated: none is best.

    trained: the step that this process has trained to; 0 when there was nothing left to do.
    """
    state: dict[str, Any] = {} if last is None else read_json(last / "trainer_state.json")
    if trained > state.get("global_step", 0):
        damaged = f"a checkpoint was damaged on the disk before training ended at step {trained}"
        raise InputError(f"{damaged}; run the same command again, which goes on from what is whole")
    if state.get("best_global_step") is None:
        raise InputError(
            "training ended before anything was evaluated, so there is no best checkpoint; train longer, or lower train.extra's eval_delay"
        )
    return state


def _keep(best: Path, state: dict[str, Any], checkpoint: Path, metrics: Path, how: dict[str, Any]) -> None:
    """Copy the model and tokenizer of the best checkpoint, without the optimizer, and write what it scored."""
    from tasks.train.trainer import validation_names

    checkpoint.mkdir(parents=True, exist_ok=True)
    for file in sorted(best.iterdir()):
        if file.suffix in (".safetensors", ".json", ".txt", ".model", ".jinja") and file.name != "trainer_state.json":
            shutil.copyfile(file, checkpoint / file.name)
    scored = next(entry for entry in state["log_history"] if entry["step"] == state["best_global_step"] and "eval_loss" in entry)
    losses = [entry["loss"] for entry in state["log_history"] if "loss" in entry]
    write_json(
        metrics,
        {
            "steps": state["global_step"],
            "best_step": state["best_global_step"],
            "best_epoch": scored["epoch"],
            "train_loss": losses[-1] if losses else None,
            "validation": {name: scored[f"eval_{name}"] for name in validation_names(scored)},
            **how,
            **devices.describe(),
        },
    )


@contextmanager
def resume_folder(params: Params, tokens: Path, processes: int) -> Iterator[Path]:
    """Yield the folder for this training's checkpoints, named by all that decides its bits, held alone; drop those of the oldest trainings.

    An equal training that is dying, because the run that started it was killed, is waited for. Of several processes the first one holds it.
    """
    sections = params.model_dump(include={"problem", "model", "train"})
    key = fingerprint(params.problem, {"params": sections, "tokens": digests(tokens), "device": devices.describe(), "processes": processes})
    folder = INTERRUPTED / key
    if int(os.environ.get("RANK", "0")):
        yield folder
        return
    INTERRUPTED.mkdir(parents=True, exist_ok=True)
    with alone(_lock(folder)):
        folder.mkdir(exist_ok=True)
        others = [path for path in INTERRUPTED.iterdir() if path != folder and KEY.fullmatch(path.name) and path.is_dir()]
        others.sort(key=_turn)
        replace(folder / TURN, f"{_turn(others[-1]) + 1 if others else 1}\n")
        interrupted = [path for path in others if any(path.glob("checkpoint-*"))]
        for path in set(others).difference(interrupted[-KEEP_INTERRUPTED + 1 :]):
            with alone_if_free(_lock(path)) as is_old:
                # one that is training now is not
                if is_old:
                    shutil.rmtree(path)
        yield folder


def _turn(folder: Path) -> int:
    """Return which of the trainings kept here this one is; 0 when that is not known."""
    try:
        return int((folder / TURN).read_text("ascii"))
    except (OSError, ValueError):
        return 0


def _lock(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.lock")


def launch(processes: int) -> None:
    """Run this module once per device, as torchrun does, with the workers as our own children."""
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    config = LaunchConfig(min_nodes=1, max_nodes=1, nproc_per_node=processes, rdzv_backend="c10d", rdzv_endpoint="localhost:0", max_restarts=0)
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // processes)))
    try:
        elastic_launch(config, sys.executable)("-m", "tasks.train")
    except ChildFailedError:
        sys.exit(1)  # the worker has said why
