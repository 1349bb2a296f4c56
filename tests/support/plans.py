"""What `retrain plan` says, and what a run then does."""

import json
from contextlib import chdir
from typing import Any

from flows.ledger.cache import MEMORY
from flows.ledger.stages import Ledger
from tasks.shared.files import sha256
from tests.support.project import Project
from tests.support.stages import STAGES


def plan(project: Project, *words: str) -> dict[str, Any]:
    """Run `retrain plan --json` and return its stages by name."""
    read: dict[str, Any] = json.loads(project.retrain("--json", *words, command="plan").stdout)
    return read | {stage["stage"]: stage for stage in read["stages"]}


def fates(planned: dict[str, Any]) -> list[str]:
    """Return what the plan foresees for each stage."""
    return [stage["fate"] for stage in planned["stages"]]


def texts(planned: dict[str, Any], stage: str) -> list[str]:
    """Return the reasons that the plan gives for a stage."""
    return [reason["text"] for reason in planned[stage]["reasons"]]


def settled(project: Project) -> list[str]:
    """Settle stages as the flow does, up to the first that has to run."""

    def run() -> None:
        raise InterruptedError

    found: list[str] = []
    with chdir(project.root):
        ledger = Ledger(project.root)
        for name in STAGES:
            try:
                found.append(str(ledger.run_or_restore(name, run)))
            except InterruptedError:
                return [*found, "stale"]
    return found


def tree(project: Project) -> dict[str, str]:
    """Return the digest, mode and time of every file in the clone, those of Git and DVC too; hashes may be remembered meanwhile."""
    files = [path for path in project.root.rglob("*") if path.is_file() and MEMORY not in path.parts]
    return {str(path): f"{sha256(path)} {path.stat().st_mode:o} {path.stat().st_mtime_ns}" for path in files}
