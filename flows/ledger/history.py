"""The last run: the one that a run is compared with, what it measured, and where the DVC cache keeps what it made."""

import json
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from dvc.dvcfile import LOCK_FILE
from dvc.schema import COMPILED_LOCKFILE_SCHEMA
from dvc.utils import serialize
from voluptuous import Invalid

import flows.ledger.yaml_limits  # noqa: F401 (before DVC reads YAML)
from flows.git.commands import git
from flows.ledger.experiments import experiments
from flows.ledger.listings import file_in
from flows.ledger.results import Experiment
from flows.ledger.stages import Ledger
from flows.ledger.validation import wrong_entry
from tasks.shared.errors import InputError

BEFORE = "the run before"
ENDS = 2  # of an interval
COMPARED = {"data/ingested", "data/splits"}  # the outputs whose rows are laid beside those of the last run


@dataclass
class Record:
    """What a run left in Git, or in the checkout: dvc.lock and metrics/*.json.

    name: of the experiment or commit; commit: None for what stood in the checkout. read: a file's text by its path, None when there is none.
    """

    name: str
    commit: str | None
    read: Callable[[str], str | None]

    @cached_property
    def stages(self) -> Mapping[str, Any]:
        """What dvc.lock holds of each stage; empty when it cannot be read, or is forged."""
        text = self.read(LOCK_FILE) or ""
        try:
            lock = COMPILED_LOCKFILE_SCHEMA(serialize.parse_yaml(text, LOCK_FILE, typ="safe"))
        except (serialize.ParseError, Invalid):
            return {}
        stages: Mapping[str, Any] = lock.get("stages") or {}
        return {} if any(map(wrong_entry, stages.values())) else stages

    @property
    def source(self) -> tuple[Any, Any]:
        """The problem and the path of the data: runs that share them are runs of the same model."""
        params = _mapping(self.stages.get("ingest", {}).get("params", {}).get("params.yaml"))
        return params.get("problem"), _mapping(params.get("data")).get("path")

    @property
    def outputs(self) -> dict[str, str]:
        """The hash of everything that the stages made, by its path."""
        return {output["path"]: output.get("md5", "") for stage in self.stages.values() for output in stage.get("outs", ())}

    def is_whole(self) -> bool:
        """Return whether each stage read what the others made: after a run that failed half-way, dvc.lock is of two runs.

        What it measured must have the form that a run gives it, too: others may push whatever they like.
        """
        read = [(dep["path"], dep.get("md5")) for stage in self.stages.values() for dep in stage.get("deps", ())]
        is_one = all(self.outputs[path] == digest for path, digest in read if path in self.outputs)
        labels = self.metric("ingest").get("labels", {})
        is_counted = isinstance(labels, dict) and all(map(_is_number, labels.values()))
        return is_one and is_counted and self.outputs.keys() >= COMPARED and _has_scores(self.metric("evaluate"))

    def metric(self, stage: str) -> dict[str, Any]:
        """Return what a stage measured; nothing when there is no such file, or half of it."""
        try:
            return _mapping(json.loads(self.read(f"metrics/{stage}.json") or ""))
        except (ValueError, RecursionError):
            return {}


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _has_scores(measured: dict[str, Any]) -> bool:
    """Return whether macro F1 is there, and each score that has an interval is a number between two."""
    intervals = _mapping(measured.get("interval"))
    for name, ends in intervals.items():
        is_pair = isinstance(ends, list) and len(ends) == ENDS
        if not is_pair or not all(map(_is_number, (*ends, measured.get(name)))):
            return False
    return "macro_f1" in intervals


def this_run(root: Path) -> Record:
    """Return the record of the run that has worked in `root`."""
    return Record("this run", None, lambda path: (root / path).read_text("utf-8") if (root / path).exists() else None)


def last_run(root: Path, saved: Experiment | None, before: Mapping[str, str]) -> Record | None:
    """Return what to compare the run in `root` with: the newest whole run of the same problem and data path; None when there is none.

    An isolated run (`saved`) looks among all experiments, the commit it started from, and those below it; one in place at what stood
    there `before`, then at HEAD, then among all that an isolated run looks at.
    """
    mine = this_run(root)
    for record in _kept(root, saved.baseline, saved.commit) if saved else _in_place(root, before):
        if record.stages.keys() == mine.stages.keys() and record.source == mine.source and record.is_whole():
            return record
    return None


def _in_place(root: Path, before: Mapping[str, str]) -> Iterator[Record]:
    try:
        head = _committed(root, git(root, "rev-parse", "--verify", "HEAD"))
    except InputError:  # nothing has been committed yet
        yield Record(BEFORE, None, before.get)
        return
    if before.get(LOCK_FILE, "").strip() != head.read(LOCK_FILE):
        yield Record(BEFORE, None, before.get)
    yield head
    yield from _kept(root, str(head.commit))


def _kept(root: Path, tip: str, but: str | None = None) -> Iterator[Record]:
    """Yield all experiments but one, the `tip`, and the commits below in which dvc.lock changed; the newest first.

    Where somebody has taken dvc.lock out of the history, what was recorded before is no longer looked at.
    """
    names = {experiment.commit: experiment.name for experiment in experiments(root) if experiment.commit != but}
    removed = git(root, "log", "--no-show-signature", "-1", "--format=^%H", "--diff-filter=D", tip, "--", LOCK_FILE)
    below = git(root, "rev-list", tip, *removed.split(), "--", LOCK_FILE).splitlines()
    for commit in git(root, "rev-list", "--no-walk=sorted", *names, tip, *below).splitlines():
        yield _committed(root, commit, names.get(commit))


def _committed(root: Path, commit: str, name: str | None = None) -> Record:
    def read(path: str) -> str | None:
        try:
            return git(root, "cat-file", "blob", f"{commit}:{path}")
        except InputError:
            return None

    return Record(name or commit[:10], commit, read)


def made(ledger: Ledger, record: Record, folder: str, file: str) -> Path | None:
    """Return where the DVC cache keeps a file of a folder that a run made; None when it no longer does."""
    digest = record.outputs.get(folder)
    return file_in(ledger.repo.cache.local, digest, file) if digest else None
