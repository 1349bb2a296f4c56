"""How a stage tells how far it is: a bar on a terminal, a line now and then elsewhere, JSON to a driver.

A driver asks by naming a file in RETRAIN_PROGRESS; each line appended there is one JSON object, such as
{"what": "train", "done": 120, "total": 480, "loss": 0.83}, {"error": "one sentence"}, {"cost": {...}} at its
end; of checkpoints before that {"checkpoints": "FOLDER"}, {"keeping": true} and {"kept": 7}; of the scores on
validation until now {"evaluations": [{"step": 60, "loss": 0.9}], "steps": 480}. A file, because any process
of the stage can append to it and none ever waits for a reader. When the disk is full, it is said on standard
error.
"""

import json
import os
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

FILE = "RETRAIN_PROGRESS"
# seconds between plain lines
EVERY = 5.0


def _tell(message: dict[str, Any]) -> bool:
    if FILE not in os.environ:
        return False
    try:
        # a line of its own, also behind one that a full disk has cut short
        with Path(os.environ[FILE]).open("a", encoding="utf-8") as file:
            file.write("\n" + json.dumps(message) + "\n")
    except OSError:
        return False
    return True


def pass_on(lines: Iterable[str]) -> None:
    """Tell the driver what a process elsewhere has told, a message a line."""
    for line in lines:
        _tell(json.loads(line))


def error(sentence: str) -> bool:
    """Tell the driver why the stage fails; return whether there is one, who says it then."""
    return _tell({"error": sentence})


def cost(taken: dict[str, Any]) -> None:
    """Tell the driver what the stage has taken."""
    if taken:
        _tell({"cost": taken})


def keeps_in(folder: Path) -> None:
    """Tell the driver in which folder, seen from where stages run, a training keeps its checkpoints."""
    _tell({"checkpoints": folder.as_posix()})


def keeping() -> None:
    """Tell the driver that the stage has heard that it is to end, and keeps a checkpoint first."""
    _tell({"keeping": True})


def kept(step: int) -> None:
    """Tell the driver, or else the user, which checkpoint was kept."""
    if not _tell({"kept": step}):
        print(f"asked to end: checkpoint kept at step {step}", flush=True)


def evaluated(evaluations: Sequence[Mapping[str, float]], steps: int) -> None:
    """Tell the driver all scores on validation until now, each with its step, of as many steps in all."""
    _tell({"evaluations": [*evaluations], "steps": steps})


class Progress:
    """How far some long work is; `done` may start above zero when the work goes on from a checkpoint."""

    def __init__(self, what: str, total: int, done: int = 0, unit: str = "step") -> None:
        self.what, self.total, self.start, self.unit = what, total, done, unit
        self.began = self.told = self.printed = time.monotonic()
        self.bar: Any = None
        if FILE not in os.environ and sys.stderr.isatty():
            from tqdm import tqdm

            self.bar = tqdm(total=total, initial=done, desc=what, unit=unit, leave=False)

    def update(self, done: int, **numbers: float) -> None:
        """Tell that `done` of the total are done, with numbers such as the loss."""
        if self.bar is not None:
            self.bar.set_postfix({name: f"{value:.4g}" for name, value in numbers.items()}, refresh=False)
            self.bar.update(done - self.bar.n)
            return
        now = time.monotonic()
        last = done == self.total
        left = (now - self.began) / max(1, done - self.start) * (self.total - done)
        if now - self.told >= EVERY / 10 or last:
            self.told = now
            _tell(
                {
                    "what": self.what,
                    "unit": self.unit,
                    "done": done,
                    "total": self.total,
                    "seconds_left": round(left, 1),
                    **numbers,
                }
            )
        if now - self.printed >= EVERY or last:
            self.printed = now
            told = "".join(f"  {name} {value:.4g}" for name, value in numbers.items())
            print(f"{self.what}: {self.unit} {done} of {self.total}{told}  {left:.0f} s left", flush=True)

    def close(self) -> None:
        """Take the bar off the terminal."""
        if self.bar is not None:
            self.bar.close()
