"""The last run, which a run is compared with: what it measured, and where the cache has what it made."""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Annotated, Any

from dvc.dvcfile import LOCK_FILE
from dvc.schema import COMPILED_LOCKFILE_SCHEMA
from dvc.utils import serialize
from pydantic import Field, TypeAdapter, ValidationError
from voluptuous import Invalid

import flows.ledger.yaml_limits  # noqa: F401 (before DVC reads YAML)
from flows.git.commands import git
from flows.git.objects import contents
from flows.ledger.experiments import experiments
from flows.ledger.listings import file_in
from flows.ledger.results import Experiment
from flows.ledger.stages import Ledger
from flows.ledger.validation import wrong_entry
from tasks.shared.errors import InputError

# records that are read together: mostly the newest is the one
AT_ONCE = 50
# what YAML writes as it is
PLAIN = re.compile(r"[A-Za-z0-9_./-]+")
BEFORE = "the run before"
# the outputs whose rows are laid beside those of the last run
COMPARED = {"data/ingested", "data/splits"}
Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]
NUMBERS = TypeAdapter(dict[str, Number])
# low and high
INTERVALS = TypeAdapter(dict[str, tuple[Number, Number]])


@dataclass
class Record:
    """What a run left in Git, or in the checkout: dvc.lock and metrics/*.json.

    name: of the experiment or commit. commit: None for what stood in the checkout.
    read: returns a file's text by its path, None when there is none.
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
    def making(self) -> Mapping[str, Any]:
        """What dvc.lock holds of the stages that make the model: to compare it with another changes none."""
        return {name: stage for name, stage in self.stages.items() if name != "judge"}

    @property
    def source(self) -> tuple[Any, Any]:
        """The problem and the path of the data: runs that share them are runs of the same model."""
        params = _mapping(self.stages.get("ingest", {}).get("params", {}).get("params.yaml"))
        return params.get("problem"), _mapping(params.get("data")).get("path")

    @property
    def outputs(self) -> dict[str, str]:
        """The hash of everything that the stages made, by its path."""
        outputs = chain.from_iterable(stage.get("outs", ()) for stage in self.stages.values())
        return {output["path"]: output.get("md5", "") for output in outputs}

    def is_complete(self) -> bool:
        """Return whether each stage read what the others made: a failed run leaves a dvc.lock of two runs.

        What it measured must have the form that a run gives it, too: others may push whatever they like.
        """
        scores = self.metric("evaluate")
        intervals: Any = scores.get("interval")
        if not _is(INTERVALS, intervals) or not _is(NUMBERS, self.metric("ingest").get("labels", {})):
            return False
        is_scored = _is(NUMBERS, {name: scores.get(name) for name in intervals})
        return is_scored and self.outputs.keys() >= COMPARED and self._is_of_one_run()

    def _is_of_one_run(self) -> bool:
        """Return whether each stage has read what the others made."""
        made = self.outputs
        read = chain.from_iterable(stage.get("deps", ()) for stage in self.stages.values())
        return all(made.get(dep["path"], dep.get("md5")) == dep.get("md5") for dep in read)

    def metric(self, stage: str) -> dict[str, Any]:
        """Return what a stage measured; nothing when there is no such file, or half of it."""
        try:
            return _mapping(json.loads(self.read(f"metrics/{stage}.json") or ""))
        except (ValueError, RecursionError):
            return {}


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _is(kind: TypeAdapter[Any], value: Any) -> bool:
    try:
        kind.validate_python(value)
    except ValidationError:
        return False
    return True


def this_run(root: Path) -> Record:
    """Return the record of the run that has worked in `root`."""

    def read(path: str) -> str | None:
        return (root / path).read_text("utf-8") if (root / path).exists() else None

    return Record("this run", None, read)


def last_run(root: Path, saved: Experiment | None, before: Mapping[str, str]) -> Record | None:
    """Return what to compare the run in `root` with: the newest complete run of its problem and data path.

    None: there is none. An isolated run (`saved`) looks among all experiments, the commit it started from,
    and those below it; one in place at what stood there `before`, then at HEAD, then among all that an
    isolated run looks at.
    """
    mine = this_run(root)
    words = [word for word in mine.source if isinstance(word, str) and PLAIN.fullmatch(word)]
    for record in _kept(root, saved.baseline, saved.commit) if saved else _in_place(root, before):
        text = record.read(LOCK_FILE) or ""
        # to parse thousands of another problem would take longer than the run
        if not all(word in text for word in words):
            continue
        is_alike = record.making.keys() == mine.making.keys() and record.source == mine.source
        if is_alike and record.is_complete():
            return record
    return None


def newest(root: Path) -> Record | None:
    """Return the newest complete run that Git keeps: an experiment, HEAD, or a commit below it."""
    for record in _kept(root, git(root, "rev-parse", "--verify", "HEAD")):
        if record.is_complete():
            return record
    return None


def _in_place(root: Path, before: Mapping[str, str]) -> Iterator[Record]:
    try:
        head = committed(root, git(root, "rev-parse", "--verify", "HEAD"))
    except InputError:
        # nothing has been committed yet
        yield Record(BEFORE, None, before.get)
        return
    if before.get(LOCK_FILE, "").strip() != head.read(LOCK_FILE):
        yield Record(BEFORE, None, before.get)
    yield head
    yield from _kept(root, str(head.commit))


def _kept(root: Path, tip: str, but: str | None = None) -> Iterator[Record]:
    """Yield all experiments but one, the `tip`, and the commits below that changed dvc.lock, newest first.

    Where somebody has taken dvc.lock out of the history, what was recorded before is no longer looked at.
    """
    names = {experiment.commit: experiment.name for experiment in experiments(root)}
    if but:
        names.pop(but, None)
    last = ("log", "--no-show-signature", "-1", "--format=^%H")
    removed = git(root, *last, "--diff-filter=D", tip, "--", LOCK_FILE)
    below = git(root, "rev-list", tip, *removed.split(), "--", LOCK_FILE).splitlines()
    asked = "".join(f"{commit}\n" for commit in (*names, tip, *below))
    commits = git(root, "rev-list", "--no-walk=sorted", "--stdin", given=asked).splitlines()
    locks = contents(root, [f"{commit}:{LOCK_FILE}" for commit in commits], AT_ONCE)
    for commit, lock in zip(commits, locks, strict=True):
        yield committed(
            root, commit, names.get(commit), None if lock is None else lock.decode(errors="surrogateescape")
        )


def committed(root: Path, commit: str, name: str | None = None, lock: str | None = None) -> Record:
    """Return what a commit holds of its run; lock: its dvc.lock, where that has been read."""

    def read(path: str) -> str | None:
        if lock is not None and path == LOCK_FILE:
            return lock.strip()
        try:
            return git(root, "cat-file", "blob", f"{commit}:{path}")
        except InputError:
            return None

    return Record(name or commit[:10], commit, read)


def cached_file(ledger: Ledger, record: Record, folder: str, file: str) -> Path | None:
    """Return where the DVC cache keeps a file of a folder that a run made; None when it no longer does."""
    digest = record.outputs.get(folder)
    return file_in(ledger.repo.cache.local, digest, file) if digest else None
