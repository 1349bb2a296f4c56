"""What it means to have rebuilt a model: how near the second one came, why not nearer, and the certificate that says so."""

import csv
import json
import math
import os
import platform
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from importlib import metadata
from pathlib import Path
from typing import Any

from flows.git.commands import git, identity
from flows.git.refs import change, changing, commit_at, remove_ref, set_ref
from tasks.shared.files import read_json

NOTES = "retrain"  # `git notes --ref=retrain show COMMIT`


class Grade(StrEnum):
    """How near a rebuilt model comes to the one on record, best first."""

    identical = "bit-identical"
    predictions = "same predictions"  # on every test row
    interval = "within interval"  # every test score inside the interval that was recorded for it
    different = "different"


EXIT_STATUS = {Grade.identical: 0, Grade.predictions: 3, Grade.interval: 4, Grade.different: 5}


@dataclass
class Certificate:
    """What was computed again, compared with what, where, and how it came out. Hashes are DVC's (MD5)."""

    revision: str
    commit: str
    grade: Grade = Grade.different
    cause: str | None = None
    stages: dict[str, dict[str, Any]] = field(default_factory=dict)
    versions: dict[str, dict[str, str]] = field(default_factory=dict)  # of the pinned libraries: {"pinned", "installed"}
    machine: dict[str, Any] = field(default_factory=dict)
    time: str = ""

    def to_json(self) -> str:
        """Return the certificate as indented JSON."""
        return json.dumps(asdict(self), indent=2)

    def keep(self, checkout: Path) -> None:
        """Add the certificate to the commit's Git notes: beside the record, which stays as it is."""
        with changing(checkout):
            # whoever else writes notes, with Git itself or by fetching them, does not ask for our lock
            while not self._appended(checkout):
                pass

    def _appended(self, checkout: Path) -> bool:
        """Append to a copy of the notes, which takes their place unless somebody has written them meanwhile; return whether it did."""
        before = commit_at(checkout, f"refs/notes/{NOTES}")
        aside = f"{NOTES}-aside"
        if left := commit_at(checkout, f"refs/notes/{aside}"):
            remove_ref(checkout, f"refs/notes/{aside}", left)
        if before:
            set_ref(checkout, f"refs/notes/{aside}", before, None)
        change(checkout, "notes", f"--ref={aside}", "append", "-m", self.to_json(), self.commit, env=identity(checkout))
        after = git(checkout, "rev-parse", f"refs/notes/{aside}")
        moved = set_ref(checkout, f"refs/notes/{NOTES}", after, before)
        remove_ref(checkout, f"refs/notes/{aside}", after)
        return moved


def now() -> str:
    """Return the time of day in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def versions(pins: dict[str, str]) -> dict[str, dict[str, str]]:
    """Return for each pinned library the version it is pinned to and the one installed."""
    found = {}
    for name, pinned in pins.items():
        try:
            installed = metadata.version(name)
        except metadata.PackageNotFoundError:
            installed = "none"
        found[name] = {"pinned": pinned, "installed": installed.split("+")[0]}
    return found


def machine(metrics: dict[str, Any]) -> dict[str, Any]:
    """Return the machine in words, with the device and threads that train's metrics name."""
    return {"python": platform.python_version(), "system": platform.platform(), "cores": os.cpu_count(), **device(metrics)}


def device(metrics: dict[str, Any]) -> dict[str, Any]:
    """Return what train's metrics say of the device, all of which decides bits."""
    return {name: metrics[name] for name in ("device", "threads", "processes", "precision") if name in metrics}


def grade_predictions(recorded: Path, computed: Path) -> Grade:
    """Return how near the test predictions and scores below `computed` come to those below `recorded`: two folders as evaluate writes them."""
    then, now_ = recorded / "plots/evaluate/predictions.csv", computed / "plots/evaluate/predictions.csv"
    if then.exists() and now_.exists() and _predicted(then) == _predicted(now_):
        return Grade.predictions
    scores, found = (folder / "metrics/evaluate.json" for folder in (recorded, computed))
    if scores.exists() and found.exists():
        known, new = read_json(scores), read_json(found)
        intervals = known.get("interval", {})
        if intervals and all(low <= new.get(name, math.nan) <= high for name, (low, high) in intervals.items()):
            return Grade.interval
    return Grade.different


def _predicted(file: Path) -> list[tuple[str, str]]:
    with file.open(encoding="utf-8", newline="") as lines:
        return [(row["id"], row["predicted"]) for row in csv.DictReader(lines)]
