"""A disk that is full or fails while a training keeps checkpoints: one sentence, and the next run ends in the same bytes."""

import os
import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random

from tasks.shared.files import digests
from tests.attacks import Attempt
from tests.attacks.disk import IS_ROOT, PAGE, ROOMY, mounted, pages, resize
from tests.attacks.kills import STRACE
from tests.support.forking import forking, interpreter
from tests.support.project import Project, make_tiny_model, tiny_project

LONG, SHORT = 40, 4
CHECKPOINTS = ".retrain/checkpoints"
FOLDERS = ("models/checkpoint", "plots/train")
METRICS = "metrics/train.json"
STAGE = "tasks.train"
# what changes a file or a folder, or has the disk take it
CALLS = "openat,write,pwrite64,ftruncate,fsync,rename,mkdir,unlink,unlinkat,rmdir"
# of a line of strace: the call, and the paths below the checkpoints, by which it finds a call again
CALL = re.compile(r"\d+ +(\w+)\(")
PLACE = re.compile(rf"{re.escape(CHECKPOINTS)}/[^\">]+(?=[\">])")
# names drawn at random (safetensors' weights) or with the number of a process: they cannot be told beforehand,
# and a full disk fails there
OF_ONE_PROCESS = re.compile(r"/\.tmp|\.part(/|$)")


@dataclass(frozen=True)
class Write:
    """A system call of a training on something among its checkpoints: the `number`-th of its kind there.

    Of its kind anywhere, where something is renamed: what it was called before has the number of a process.
    """

    call: str
    place: str
    number: int

    def __str__(self) -> str:
        return f"{self.call} {self.number} of {self.place}"


class Training:
    """The stage train on the tiny model, which keeps a checkpoint after each step, and what it gives undisturbed."""

    def __init__(self, project: Project, python: Path) -> None:
        """Have all that it needs computed, and train once."""
        params = project.root / "params.yaml"
        few = params.read_text("utf-8").replace("train_batch_size: 32", "train_batch_size: 128")
        params.write_text(few, encoding="utf-8")
        project.env["RETRAIN_CHECKPOINT_SECONDS"] = "0"
        self.project = project
        # forked from a process that has imported torch: the same stages, sooner
        self.soon = forking(project, python)
        for stage in ("ingest", "split", "tokenize", STAGE.removeprefix("tasks.")):
            self.soon.run(self.soon.python, "-m", f"tasks.{stage}")
        self.expected = self.outputs()

    def outputs(self) -> dict[str, str]:
        """Return the checksums of what it has made."""
        found = {folder: digests(self.project.root / folder) for folder in FOLDERS}
        metrics = (self.project.root / METRICS).read_text("utf-8")
        return {METRICS: metrics} | {f"{at}/{name}": of[name] for at, of in found.items() for name in of}

    def forget(self, *more: str) -> None:
        """Remove what it has made, as is done before a stage runs, and more."""
        for name in (*FOLDERS, *more):
            shutil.rmtree(self.project.root / name, ignore_errors=True)
        (self.project.root / METRICS).unlink(missing_ok=True)

    def run(self) -> subprocess.CompletedProcess[str]:
        """Train, or go on training."""
        self.forget()
        return self.soon.run(self.soon.python, "-m", STAGE, status=None)

    def traced(self, trace: Path, *words: str) -> subprocess.CompletedProcess[str]:
        """Train with some system calls written down, or failing."""
        strace = (str(STRACE), "-f", "--seccomp-bpf", "-y", "-s", "0", "-o", str(trace), *words)
        return self.project.run(*strace, self.project.python, "-m", STAGE, status=None)

    def failing(self, trace: Path, write: Write, code: str) -> subprocess.CompletedProcess[str]:
        """Train with a write that fails."""
        # as the training names it, and as the kernel does; what is renamed strace knows by neither name
        names = (write.place, str(self.project.root / write.place)) if write.call != "rename" else ()
        places = [word for name in names for word in ("-P", name)]
        fails = f"inject={write.call}:error={code}:when={write.number}"
        return self.traced(trace, *places, "-e", f"trace={write.call}", "-e", fails)

    def needed(self, disk: Path) -> int:
        """Return how many pages of a disk it takes at most."""
        before = most = pages(disk)
        running = self.soon.popen(STAGE)
        while running.poll() is None:
            most = max(most, pages(disk))
        running.communicate()
        return most - before

    def wrong(self, done: subprocess.CompletedProcess[str]) -> str | None:
        """Return what is wrong after a training that was disturbed, and after the same again."""
        said = done.stdout + done.stderr
        errors = [line for line in said.splitlines() if line.startswith("error: ")]
        if done.returncode not in (0, 1) or len(errors) != done.returncode or "Traceback" in said:
            return f"status {done.returncode}, {len(errors)} sentences: {said[-1500:]}"
        done = self.run()
        if done.returncode != 0:
            return f"the same again ended with {done.returncode}: {done.stdout[-500:]} {done.stderr[-1500:]}"
        return None if self.outputs() == self.expected else "other bytes than an undisturbed training"


def writes(training: Training, trace: Path) -> list[Write]:
    """Train undisturbed and return what it writes among its checkpoints, in order."""
    training.traced(trace, "-e", f"trace={CALLS}")
    seen: Counter[tuple[str, str]] = Counter()
    found = []
    for line in trace.read_text("utf-8", "replace").splitlines():
        told, places = CALL.match(line), PLACE.findall(line)
        if told is None:
            continue
        call = told[1]
        if call == "rename":
            seen[call, ""] += 1
            if places:
                found.append(Write(call, places[-1], seen[call, ""]))
        elif places and not OF_ONE_PROCESS.search(places[0]):
            # what is opened to be read is counted too, but is not to fail
            seen[call, places[0]] += 1
            if call != "openat" or "O_RDONLY" not in line:
                found.append(Write(call, places[0], seen[call, places[0]]))
    return found


def full(training: Training, disk: Path, free: int) -> Attempt:
    """Train with so many pages of a disk free."""
    resize(disk, str((pages(disk) + free) * PAGE))
    done = training.run()
    resize(disk, ROOMY)
    return Attempt(f"{free} pages free", training.wrong(done))


def failed(training: Training, trace: Path, write: Write, code: str) -> Attempt:
    """Train with a write that fails."""
    done = training.failing(trace, write, code)
    if "INJECTED" not in trace.read_text("utf-8", "replace"):
        return Attempt(f"{code} at {write}", "that write never came")
    return Attempt(f"{code} at {write}", training.wrong(done))


def attempts(seed: int, count: int, scratch: Path) -> Iterator[Attempt]:
    """Yield trainings on a full disk (where this may mount one) and with writes that fail (given strace), in turn."""
    for name in ("base", "python"):
        (scratch / name).mkdir()
    make_tiny_model(scratch / "base")
    python, trace = interpreter(scratch / "python", os.getpid()), scratch / "trace"
    with mounted(scratch / "disk") as disk:
        training = Training(tiny_project(disk / "project", scratch / "base"), python)
        training.forget(CHECKPOINTS)
        needed = training.needed(disk)
        training.forget(CHECKPOINTS)
        possible: dict[str, list[Write]] = {}
        for write in writes(training, trace) if STRACE else []:
            possible.setdefault(write.call, []).append(write)
        for number in range(seed, seed + count):
            chance = Random(number)  # noqa: S311 (the same attempt again, no secret)
            training.forget(CHECKPOINTS)
            if IS_ROOT and (number % 2 == 0 or not possible):
                attempt = full(training, disk, chance.randrange(needed))
            elif possible:
                # each kind of call as often: most of them are fsync
                write = chance.choice(possible[chance.choice(sorted(possible))])
                attempt = failed(training, trace, write, chance.choice(("EIO", "ENOSPC")))
            else:
                return
            yield Attempt(f"seed {number}: {attempt.case}", attempt.fault)
