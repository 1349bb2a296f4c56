"""A training that waits where a test wants it to until the test lets it go on, so that nobody guesses how long it takes.

The lines that wait are committed to the clone under test: nothing of them is in the product. Without the file that
they look for they do nothing, and what is trained with them is bit-identical to what is trained without.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from tasks.shared.files import read_json, replace
from tests.support.project import Project
from tests.support.wait import until

# of the tiny model's training in one epoch; the first checkpoint is whole before the next step begins
STEPS = 27
LINES = """

# lines of a test: tests/support/hold.py


def _wait_for_the_test(follow, moment, step):
    import json
    import os
    import time

    file = Path({file!r})
    told = file.with_name(f"held.{{os.getpid()}}.part")
    while not follow.asked_to_end:
        try:
            wanted = json.loads(file.read_text("utf-8"))
        except FileNotFoundError:
            return
        if moment != wanted["moment"] or step < wanted["step"]:
            return
        told.write_text(json.dumps({{"pid": os.getpid(), "step": step}}), "utf-8")
        told.replace(file.with_name("held"))
        time.sleep(0.02)


class _Follow(Follow):
    def on_step_begin(self, args, state, control, **more):
        _wait_for_the_test(self, "step", state.global_step)
        super().on_step_begin(args, state, control, **more)

    def on_save(self, args, state, control, **more):
        _wait_for_the_test(self, "save", state.global_step)
        super().on_save(args, state, control, **more)


Follow = _Follow
"""


class Hold:
    """Where the trainings of a clone wait.

    moment: "step" is before the step that follows `step`, "save" is before the checkpoint at `step` is marked as whole.
    """

    def __init__(self, folder: Path) -> None:
        self.file, self.held = folder / "hold", folder / "held"

    def at(self, step: int, moment: str = "step") -> None:
        """Have trainings wait there, and one that waits elsewhere go on to there."""
        replace(self.file, json.dumps({"step": step, "moment": moment}))

    def reached(self) -> psutil.Process:
        """Wait until a training waits; return its process."""
        process: psutil.Process = until(self.waiting)
        return process

    def waiting(self) -> psutil.Process | None:
        """Return the process of a training that waits."""
        told = read_json(self.held) if self.held.exists() else {"step": -1}
        there = told["step"] >= read_json(self.file)["step"] and psutil.pid_exists(told["pid"])
        return psutil.Process(told["pid"]) if there else None

    def release(self) -> None:
        """Let all trainings go on to their ends."""
        self.file.unlink(missing_ok=True)


@contextmanager
def held(project: Project, step: int = STEPS, moment: str = "step") -> Iterator[Hold]:
    """Have the trainings of a clone wait as long as the context lasts, or until they are released."""
    trainer = project.root / "tasks/train/trainer.py"
    hold = Hold(project.root.parent)
    trainer.write_text(trainer.read_text("utf-8") + LINES.format(file=str(hold.file)), encoding="utf-8")
    project.run("git", "commit", "-qm", "a test holds the training", "tasks/train/trainer.py")
    hold.at(step, moment)
    try:
        yield hold
    finally:
        hold.release()
