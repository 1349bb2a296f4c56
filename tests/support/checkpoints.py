"""Checkpoints as the Trainer saves them, without a training."""

import json
from pathlib import Path
from typing import Any

from tasks.train.checkpoints import mark


def saved(folder: Path, step: int, *, is_whole: bool = True, **state: Any) -> Path:
    """Write what a checkpoint of the Trainer looks like from outside."""
    path = folder / f"checkpoint-{step}"
    path.mkdir(parents=True)
    stop = state.pop("stop", False)
    callbacks = {"TrainerControl": {"args": {"should_training_stop": stop}}}
    whole = {"global_step": step, "max_steps": 100, "stateful_callbacks": callbacks, **state}
    (path / "trainer_state.json").write_text(json.dumps(whole))
    (path / "optimizer.pt").write_bytes(b"moments" * 100)
    if is_whole:
        mark(path)
    return path
