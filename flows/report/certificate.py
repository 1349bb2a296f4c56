"""What it means to have rebuilt a model: how near the second one came, why not nearer, its certificate."""

import csv
import json
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flows.git.notes import append
from tasks.shared.files import read_json
from tasks.shared.markup import Markdown
from tasks.shared.templates import render
from tasks.shared.verdict import score

if TYPE_CHECKING:
    from flows.ledger.revision import Compared

# `git notes --ref=retrain show COMMIT`
NOTES = "retrain"
TEMPLATE = Path(__file__).parent / "templates/certificate.md.j2"
# what of train's metrics tells the device and threads, all of which decide bits
DEVICE = ("device", "threads", "processes", "precision")


class Grade(StrEnum):
    """How near a rebuilt model comes to the one on record, best first."""

    identical = "bit-identical"
    # on every test row
    predictions = "same predictions"
    # every test score inside the interval that was recorded for it
    interval = "within interval"
    different = "different"


EXIT_STATUS = {Grade.identical: 0, Grade.predictions: 3, Grade.interval: 4, Grade.different: 5}


@dataclass
class Certificate:
    """What was computed again, compared with what, where, and how it came out. Hashes are DVC's (MD5).

    versions: of the pinned libraries, each with `pinned` and `installed`.
    """

    revision: str
    commit: str
    grade: Grade = Grade.different
    cause: str | None = None
    stages: dict[str, dict[str, Any]] = field(default_factory=dict)
    versions: dict[str, dict[str, str]] = field(default_factory=dict)
    machine: dict[str, Any] = field(default_factory=dict)
    time: str = ""

    @classmethod
    def begin(cls, revision: str, commit: str, pins: Mapping[str, str]) -> "Certificate":
        """Return a certificate of nothing yet, with the time and the versions installed and pinned."""
        versions = {name: {"pinned": pinned, "installed": _installed(name)} for name, pinned in pins.items()}
        return cls(revision, commit, versions=versions, time=datetime.now(UTC).isoformat(timespec="seconds"))

    @property
    def other_versions(self) -> list[str]:
        """The libraries of which another version is installed than is pinned, in words."""
        others = {name: both for name, both in self.versions.items() if both["installed"] != both["pinned"]}
        return [f"{name} {both['installed']} instead of {both['pinned']}" for name, both in others.items()]

    def add(self, stage: str, outputs: "Sequence[Compared]", changed: list[str], seconds: float) -> None:
        """Take in a stage that has been computed: its outputs, and what of its key is not as recorded."""
        is_same = all(output.is_same for output in outputs)
        self.stages[stage] = {
            "grade": Grade.identical if is_same else Grade.different,
            "seconds": seconds,
            "changed": changed,
            "outputs": [vars(output) for output in outputs],
        }

    def judge(self, recorded: Path, computed: Path, stages: Sequence[str]) -> None:
        """Grade the whole, and find why it is not bit-identical: data, versions, code or device.

        recorded, computed: two folders with metrics and plots as the stages write them. stages: all that the
        revision has, in their order.
        """
        then, now = (_train_metrics(folder) for folder in (recorded, computed))
        python, system = platform.python_version(), platform.platform()
        self.machine = {"python": python, "system": system, "cores": os.cpu_count(), **_device(now)}
        is_whole = len(self.stages) == len(stages)
        if is_whole and all(stage["grade"] == Grade.identical for stage in self.stages.values()):
            self.grade = Grade.identical
            return
        if is_whole:
            self.grade = grade_predictions(recorded, computed)
            for name in stages[stages.index("train") :]:
                if self.stages[name]["grade"] != Grade.identical:
                    self.stages[name]["grade"] = self.grade
        self.cause = self.cause or self._why_different(then, now)

    def _why_different(self, then: dict[str, Any], now: dict[str, Any]) -> str:
        """Return what explains that not every bit is the same.

        then, now: train's metrics as recorded and as computed.
        """
        if self.other_versions:
            return f"environment: {', '.join(self.other_versions)}"
        for name, stage in self.stages.items():
            if stage["changed"]:
                return f"code: {', '.join(stage['changed'])} of {name} is not what dvc.lock recorded"
        changed = {key: value for key, value in _device(then).items() if now.get(key) != value}
        if changed:
            words = ", ".join(f"{key} {now.get(key)} instead of {value}" for key, value in changed.items())
            return f"device: {words}"
        return "unknown: data, code, versions and device are all as recorded"

    def to_json(self) -> str:
        """Return the certificate as indented JSON."""
        return json.dumps(asdict(self), indent=2)

    def keep(self, checkout: Path) -> None:
        """Add the certificate to the commit's Git notes: beside the record, which stays as it is."""
        append(checkout, NOTES, self.commit, self.to_json())


def markdown(certificate: Certificate) -> str:
    """Return a certificate as the UI shows it."""
    return render(TEMPLATE, certificate=certificate, json=Markdown(certificate.to_json()))


def grade_predictions(recorded: Path, computed: Path) -> Grade:
    """Return how near the test predictions and scores below one folder come to those below another.

    recorded, computed: folders with metrics and plots as evaluate writes them.
    """
    then, now = recorded / "plots/evaluate/predictions.csv", computed / "plots/evaluate/predictions.csv"
    if then.exists() and now.exists() and _predicted(then) == _predicted(now):
        return Grade.predictions
    scores, found = recorded / "metrics/evaluate.json", computed / "metrics/evaluate.json"
    if scores.exists() and found.exists():
        new = read_json(found)
        intervals = read_json(scores).get("interval", {})
        if intervals and all(low <= score(new, name) <= high for name, (low, high) in intervals.items()):
            return Grade.interval
    return Grade.different


def _installed(library: str) -> str:
    """Return the version of a library that is installed, without what says for which device it was built."""
    try:
        return metadata.version(library).split("+")[0]
    except metadata.PackageNotFoundError:
        return "none"


def _train_metrics(folder: Path) -> dict[str, Any]:
    file = folder / "metrics/train.json"
    return read_json(file) if file.exists() else {}


def _device(train_metrics: dict[str, Any]) -> dict[str, Any]:
    return {name: train_metrics[name] for name in DEVICE if name in train_metrics}


def _predicted(file: Path) -> list[tuple[str, ...]]:
    """Return the id of each test row and what was predicted of it; how sure the model was may differ."""
    with file.open(encoding="utf-8", newline="") as lines:
        rows = csv.DictReader(lines)
        names = ["id", *(name for name in rows.fieldnames or () if name.startswith("predicted"))]
        return [tuple(row[name] for name in names) for row in rows]
