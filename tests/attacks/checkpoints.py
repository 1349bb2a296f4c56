"""Checkpoints damaged as a disk, a kill or a clock damages them: training goes on to the same bytes, and says from where."""

import io
import os
import shutil
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any
from unittest.mock import patch

import polars as pl

from tasks.problems.text_classification import TextClassification
from tasks.shared import base_models
from tasks.shared.files import digests
from tasks.shared.params import Params
from tasks.shared.paths import Paths
from tasks.shared.statistics import Statistics
from tasks.train import train
from tasks.train.checkpoints import COMPLETE, by_step
from tests.attacks import Attempt
from tests.support.project import make_tiny_model
from tests.support.way import Way, way

LONG, SHORT = 40, 10
FILES = ("model.safetensors", "optimizer.pt", "scheduler.pt", "rng_state.pth", "trainer_state.json", COMPLETE)
WAYS = ("truncated", "empty", "flipped", "missing", "the tail zeros", "from another step")
STRAYS = (
    "checkpoint-abc",
    "checkpoint-007",
    "checkpoint-\u0663",
    f"checkpoint-{'9' * 200}",
    "a file",
    "a link",
)
CLOCKS = ("2100", "turned round")
EPOCHS = 3


class Watched(TextClassification):
    """The problem, and what stood in the folder of checkpoints whenever training evaluated: as if killed then."""

    def __init__(self, resume: Path, kept: Path) -> None:
        super().__init__(Params().own)
        self.resume, self.kept = resume, kept
        self.evaluated = 0

    def measure(self, predictions: pl.DataFrame, rows: pl.DataFrame, targets: dict[str, Any]) -> Statistics:
        """Keep a copy of the checkpoints first."""
        self.evaluated += 1
        if self.evaluated > 1:
            shutil.copytree(self.resume, self.kept / f"{len(list(self.kept.iterdir()))}")
        return super().measure(predictions, rows, targets)


@dataclass
class Training:
    """A training of the tiny model: what it gives undisturbed, and how it stood at some moments."""

    folder: Path
    made: Way = field(init=False)
    expected: dict[str, str] = field(init=False)
    stood: list[Path] = field(init=False)
    earliest: Path = field(init=False)

    def __post_init__(self) -> None:
        """Train twice to the end, with checkpoints by the clock and without."""
        base = self.folder / "base"
        base.mkdir(parents=True)
        make_tiny_model(base)
        changes = {"num_train_epochs": float(EPOCHS), "per_device_train_batch_size": 8, "logging_steps": 3}
        self.made = way(self.folder / "way", base, train=changes)
        self.made.tokenize()
        kept = self.folder / "kept"
        kept.mkdir()
        found = []
        for seconds in (0, 3600):
            resume = self.folder / f"resume-{seconds}"
            found.append(
                self.learn(resume, self.folder / f"out-{seconds}", seconds, Watched(resume, kept))[0]
            )
        assert found[0] == found[1], "checkpoints by the clock changed what was learned"
        self.expected = found[0]
        self.stood = sorted(kept.iterdir())
        self.earliest = min(by_step(self.stood[0]).items())[1]

    def learn(
        self, resume: Path, out: Path, seconds: int, problem: TextClassification | None = None
    ) -> tuple[dict[str, str], str]:
        """Train from what is in `resume`; return the checksums of all that is written, and what is said."""
        said, clock = io.StringIO(), {"RETRAIN_CHECKPOINT_SECONDS": str(seconds)}
        given = self.made.params
        paths = Paths(out)
        paths.tokens, paths.splits = self.made.paths.tokens, self.made.paths.splits
        with patch.dict(os.environ, clock), redirect_stdout(said), redirect_stderr(io.StringIO()):
            train(given.train, base_models.fetch(given.model), problem or TextClassification(), paths, resume)
        return digests(out), said.getvalue()


def damage(file: Path, how: str, other: Path, chance: Random) -> bool:
    """Damage a file in the way that is named; return whether that changed it."""
    before = file.read_bytes()
    after = bytearray(before)
    place = chance.randrange(len(before))
    if how == "truncated":
        del after[place:]
    elif how == "empty":
        after.clear()
    elif how == "flipped":
        after[place] ^= 1 << chance.randrange(8)
    elif how == "the tail zeros":
        after[place:] = bytes(len(before) - place)
    elif how == "from another step":
        after = bytearray(other.read_bytes())
    file.write_bytes(after)
    if how == "missing":
        file.unlink()
        return True
    return bytes(after) != before


def stray(resume: Path, what: str) -> None:
    """Put something beside the checkpoints that is none of them, or stands where one belongs."""
    if what == "a file":
        (resume / "checkpoint-10").write_text("no folder")
    elif what == "a link":
        elsewhere = resume.with_name(f"{resume.name}-elsewhere")
        elsewhere.mkdir()
        (elsewhere / "precious.txt").write_text("precious")
        (resume / "checkpoint-500").symlink_to(elsewhere)
    else:
        (resume / what).mkdir()
        (resume / what / "trainer_state.json").write_text("{}")


def turn_clock(resume: Path, how: str) -> None:
    """Have the checkpoints look as if they came from the future, or the newest the oldest."""
    for step, path in by_step(resume).items():
        when = 4_102_444_800 + step if how == "2100" else 1_700_000_000 - 3600 * step
        os.utime(path, (when, when), follow_symlinks=False)


def attempt(training: Training, scratch: Path, seed: int) -> Attempt:
    """Damage a copy of a training's checkpoints and go on from it."""
    chance = Random(seed)  # noqa: S311 (no secret)
    resume = shutil.copytree(chance.choice(training.stood), scratch / f"resume-{seed}")
    steps = sorted(by_step(resume))
    names, is_said = [], False
    if chance.random() < 0.8:
        file, how, which = chance.choice(FILES), chance.choice(WAYS), chance.choice(("last", "other", "both"))
        names.append(f"{file} of {which} {how}")
        for step in {"last": steps[-1:], "other": steps[:-1], "both": steps}[which]:
            changed = damage(by_step(resume)[step] / file, how, training.earliest / file, chance)
            is_said = is_said or (changed and step == steps[-1])
    if not names or chance.random() < 0.4:
        names.append(what := chance.choice(STRAYS))
        stray(resume, what)
    if chance.random() < 0.5:
        names.append(f"clock {(clock := chance.choice(CLOCKS))}")
        turn_clock(resume, clock)
    case = f"seed {seed}: {', '.join(names)}"
    try:
        found, said = training.learn(resume, scratch / f"out-{seed}", chance.choice((0, 3600)))
    except Exception as error:  # noqa: BLE001 (a crash is what is looked for)
        return Attempt(case, f"{type(error).__name__}: {error}")
    if found != training.expected:
        return Attempt(case, "other bytes than an undisturbed training")
    if is_said and "is passed over: " not in said:
        return Attempt(case, f"nothing was said of it: {said}")
    precious = scratch / f"resume-{seed}-elsewhere/precious.txt"
    if precious.parent.exists() and not precious.exists():
        return Attempt(case, "deleted what a link led to")
    return Attempt(case)


def attempts(seed: int, count: int, scratch: Path) -> Iterator[Attempt]:
    """Yield what came of going on from damaged checkpoints."""
    training = Training(scratch / "training")
    for number in range(count):
        yield attempt(training, scratch, seed + number)
