"""The records of the run-cache: which outputs a stage has made from which inputs. Each is named after the hash of what it says."""

import copy
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dvc.dvcfile import LOCK_FILE
from dvc.repo import Repo
from dvc.schema import COMPILED_LOCK_FILE_STAGE_SCHEMA
from dvc.stage import PipelineStage
from dvc.stage.cache import _get_cache_hash
from dvc.stage.serialize import to_single_stage_lockfile
from dvc.utils.serialize import ParseError, dump_yaml, load_yaml
from voluptuous import Invalid

import flows.ledger.yaml_limits  # noqa: F401 (before DVC reads YAML)
from flows.ledger.validation import ForgedError, wrong_entry
from tasks.shared.errors import InputError

REFUSED = "damaged/runs"  # where in the cache those are kept that nothing is restored from, here or by a remote


@dataclass
class Record:
    """A file of the run-cache.

    stage, recorded: the stage under whose key it is, and what dvc.lock holds for it; empty when it names none.
    """

    path: Path
    stage: str = ""
    recorded: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"stage {self.stage}: its record in the run-cache" if self.stage else "a record in the run-cache"

    def wrong(self) -> InputError | None:
        """Return why nothing may be restored from it; None when it is whole."""
        try:
            read(self.path)
        except InputError as error:
            return error
        return None

    def outputs(self) -> dict[str, str]:
        """Return the hashes of what would be restored from it, by their paths; nothing when it is not whole."""
        try:
            outputs = read(self.path).get("outs", ())
        except InputError:
            return {}
        return {output["path"]: output["md5"] for output in outputs if "md5" in output}

    def among(self, inputs: Mapping[str, str]) -> str:
        """Return which of these inputs, their paths by their hashes, it was computed from."""
        return ", ".join(sorted({inputs[dep["md5"]] for dep in self.recorded["deps"] if dep.get("md5") in inputs}))

    def set_aside(self, folder: Path) -> None:
        """Keep it where nothing is restored from it, and where it is known that a remote's is not to be taken."""
        folder.mkdir(parents=True, exist_ok=True)
        self.path.replace(folder / self.path.name)
        self._remove_empty()

    def mend(self) -> str:
        """Write it again from dvc.lock when that holds the same, else remove it; return which."""
        self.path.unlink()
        if self.path.name != _names(self.recorded)[1]:
            self._remove_empty()
            return "removed, so that nothing is restored from it"
        part = self.path.with_name(f".{self.path.name}.part")
        dump_yaml(str(part), self.recorded)
        part.replace(self.path)
        return "written again from dvc.lock"

    def _remove_empty(self) -> None:
        """Remove the folder of the key when no record is left in it: DVC cannot do without one in a folder."""
        with suppress(OSError):
            self.path.parent.rmdir()


def recorded(repo: Repo) -> dict[str, Mapping[str, Any]]:
    """Return what dvc.lock holds for each stage."""
    lock = repo.fs.join(repo.root_dir, LOCK_FILE)
    return dict(load_yaml(lock, fs=repo.fs).get("stages", {})) if repo.fs.exists(lock) else {}


def records(repo: Repo, stages: Mapping[str, Mapping[str, Any]]) -> Iterator[Record]:
    """Yield the records of the run-cache for the stages that dvc.lock names."""
    for name, entry in stages.items():
        if not entry.get("outs"):
            continue
        key, _ = _names(entry)
        for path in sorted(_folder(repo, key).glob("[0-9a-f]*")):
            yield Record(path, name, entry)


def computed_from(repo: Repo, inputs: Collection[str]) -> Iterator[Record]:
    """Yield all whole records of the run-cache of what was computed from inputs with one of these hashes, at any params."""
    for record in others(repo, []):
        with suppress(InputError):
            entry = read(record.path)
            if any(dep.get("md5") in inputs for dep in entry.get("deps", ())):
                yield Record(record.path, entry["cmd"].rpartition(".")[2], entry)


def others(repo: Repo, named: list[Record]) -> Iterator[Record]:
    """Yield all other records of the run-cache: a run with other params may restore from them."""
    known = {record.path for record in named}
    for path in sorted(Path(repo.stage_cache.cache_dir).glob("*/*/[0-9a-f]*")):
        if path not in known:
            yield Record(path)


def read(path: Path, key: str | None = None, name: str | None = None) -> dict[str, Any]:
    """Return what a record says.

    key, name: what it is named after, when its path does not say so.
    Raises ForgedError when it is forged, InputError when it cannot be read or is not what it is named after.
    """
    try:
        entry = dict(COMPILED_LOCK_FILE_STAGE_SCHEMA(load_yaml(str(path))))
    except (ParseError, Invalid, OSError):
        raise InputError("cannot be read") from None
    if wrong := wrong_entry(entry):
        raise ForgedError(f"is forged: {wrong}")
    if _names(entry) != (key or path.parent.name, name or path.name):
        raise InputError("is not what its name says")
    return entry


def newest(repo: Repo, stage: PipelineStage) -> dict[str, Any] | None:
    """Return the newest whole record under the key of a stage with its dependencies as they stand in it, if there is one.

    Raises ForgedError for one that would have files looked up, written or deleted outside the outputs.
    """
    folder = _folder(repo, _get_cache_hash(to_single_stage_lockfile(stage), key=True))
    found = sorted(folder.glob("[0-9a-f]*"), key=lambda path: path.stat().st_mtime_ns, reverse=True)
    whole = [entry for path in found if (entry := _restorable(stage, path)) is not None]
    return whole[0] if whole else None


def set_aside_damaged(repo: Repo, stage: PipelineStage) -> list[Path]:
    """Set aside the records under the key of a stage that are not what their names say; return where they are.

    DVC would keep such a record for what it is named after, or fail on it.
    """
    folder = _folder(repo, _get_cache_hash(to_single_stage_lockfile(stage), key=True))
    damaged = [Record(path) for path in folder.glob("[0-9a-f]*") if Record(path).wrong()]
    aside = Path(repo.cache.legacy.path, "damaged/records")
    for record in damaged:
        record.set_aside(aside)
    return [aside / record.path.name for record in damaged]


def _restorable(stage: PipelineStage, path: Path) -> dict[str, Any] | None:
    try:
        return read(path)
    except ForgedError as error:
        raise ForgedError(
            f"{stage.name}: its record {path.name} in the run-cache {error}; nothing was written. "
            "Remove it with `retrain check --repair`, and find out who wrote it"
        ) from None
    except InputError:
        return None


def _folder(repo: Repo, key: str) -> Path:
    return Path(repo.stage_cache.cache_dir, key[:2], key)


def _names(entry: Mapping[str, Any]) -> tuple[str, str]:
    """Return the folder (key) and file name that DVC gives a record."""
    return _get_cache_hash(copy.deepcopy(dict(entry)), key=True), _get_cache_hash(entry)
