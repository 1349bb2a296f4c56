"""What a training leaves: the best checkpoint, what it scored on validation, and the learning curves."""

import shutil
from pathlib import Path
from typing import Any

from tasks.shared import devices
from tasks.shared.errors import InputError
from tasks.shared.files import read_json, write_json
from tasks.shared.paths import Paths
from tasks.train import checkpoints, micro_batch
from tasks.train.curves import evaluations, validation_names, write_curves
from tasks.train.trainer import SeededTrainer

# the endings of what a model and its processor are saved in
KEPT = (".safetensors", ".json", ".txt", ".model", ".jinja")


def write(run: SeededTrainer, how: dict[str, Any], resume: Path, paths: Paths) -> None:
    """Write the best checkpoint, its metrics and curves.

    how: what to say of how it was trained. resume: the folder of its checkpoints. Raises InputError when
    nothing was evaluated, or what was trained last is damaged on the disk.
    """
    state = _state(checkpoints.last_whole(resume), run.state.global_step)
    keep(resume / f"checkpoint-{state['best_global_step']}", paths)
    how |= run.problem.calibrate(paths.checkpoint, run.validation, run.rows, run.targets)
    smaller = micro_batch.history(resume)
    how |= {"micro_batches": smaller} if smaller else {}
    _say_scores(state, paths, how)
    write_curves(state["log_history"], paths.curves)


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


def keep(best: Path, paths: Paths) -> None:
    """Copy the model and processor of the best checkpoint, not the optimizer, whole or in shards."""
    paths.checkpoint.mkdir(parents=True, exist_ok=True)
    for file in sorted(best.iterdir()):
        is_to_go_on_from = file.name == checkpoints.STATE or file.name.startswith(checkpoints.SHARD)
        if file.suffix in KEPT and not is_to_go_on_from:
            shutil.copyfile(file, paths.checkpoint / file.name)


def _say_scores(state: dict[str, Any], paths: Paths, how: dict[str, Any]) -> None:
    """Write what the best checkpoint scored on validation."""
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
