"""Trainings as processes of their own, in a folder that holds just what the train stage reads."""

import os
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from tasks.shared import params_file
from tasks.shared.files import digests
from tasks.train.checkpoints import COMPLETE
from tests.support.project import ROOT, environment
from tests.support.wait import PATIENCE, until
from tests.support.way import Way


@dataclass
class Training:
    """A folder in which `python -m tasks.train` runs."""

    folder: Path
    env: dict[str, str] = field(default_factory=dict)

    def start(self, **env: str) -> subprocess.Popen[str]:
        """Start the stage, in a process group of its own."""
        return subprocess.Popen(
            [sys.executable, "-m", "tasks.train"],
            cwd=self.folder,
            env=environment(self.folder) | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"} | self.env | env,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def run(self, status: int = 0, **env: str) -> str:
        """Run the stage to its end; return what it says."""
        running = self.start(**env)
        said, _ = running.communicate(timeout=PATIENCE)
        assert running.returncode == status, said
        return said

    def interrupted(self, who: str, how: signal.Signals, status: int, **env: str) -> str:
        """Run the stage until it has saved a checkpoint, and end some of its processes.

        who: "all", "launcher", or "one" of those that it started.
        """
        before = self.kept()
        running = self.start(RETRAIN_CHECKPOINT_SECONDS="0", **env)
        # a short training is not to end meanwhile
        until(lambda: self.kept() > before, every=0.01)
        if who == "all":
            os.killpg(running.pid, how)
        elif who == "launcher":
            running.send_signal(how)
        else:
            psutil.Process(running.pid).children()[-1].send_signal(how)
        said, _ = running.communicate(timeout=PATIENCE)
        assert running.returncode == status, said
        return said

    def kept(self) -> int:
        """Return the step of the last checkpoint that is whole; 0 without any."""
        whole = self.folder.glob(f".retrain/checkpoints/*/checkpoint-*/{COMPLETE}")
        return max((int(file.parent.name.removeprefix("checkpoint-")) for file in whole), default=0)

    def made(self) -> dict[str, str]:
        """Return the digests of all outputs."""
        found = {}
        for name in ("models/checkpoint", "metrics", "plots"):
            found |= {f"{name}/{file}": digest for file, digest in digests(self.folder / name).items()}
        return found


def training(way: Way, folder: Path, **train: Any) -> Training:
    """Return a folder with what a way's tokenize has made, and its params with others of train laid over."""
    shutil.copytree(way.folder, folder)
    for name in ("params.yaml", "pins.yaml"):
        shutil.copy(ROOT / name, folder)
    params = Way(folder, way.base, {**way.changes, "train": {**way.changes.get("train", {}), **train}}).params
    params_file.save(params, folder / "params.yaml")
    return Training(folder)
