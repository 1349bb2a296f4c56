"""The records of the run-cache: which outputs a stage has made from which inputs.

Each is named after the hash of what it says.
"""

import copy
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import suppress
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

# where in the cache those are kept that are not what their names say
DAMAGED = "damaged/records"
# where those are kept that nothing is restored from, here or by a remote
REFUSED = "damaged/runs"
# of a stage, in dvc.lock or in a record
Entry = dict[str, Any]


def records(repo: Repo) -> list[Path]:
    """Return the files of all records, of all stages at all params."""
    return sorted(Path(repo.stage_cache.cache_dir).glob("*/*/[0-9a-f]*"))


def of_key(repo: Repo, entry: Mapping[str, Any]) -> list[Path]:
    """Return the files of the records of a stage with the inputs and params of an entry."""
    key, _ = names(entry)
    return sorted(Path(repo.stage_cache.cache_dir, key[:2], key).glob("[0-9a-f]*"))


def read(path: Path, key: str | None = None, name: str | None = None) -> Entry:
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
    if names(entry) != (key or path.parent.name, name or path.name):
        raise InputError("is not what its name says")
    return entry


def wrong(paths: Iterable[Path]) -> Iterator[tuple[Path, InputError]]:
    """Yield those of some records from which nothing may be restored, and why."""
    for path in paths:
        try:
            read(path)
        except InputError as error:
            yield path, error


def names(entry: Mapping[str, Any]) -> tuple[str, str]:
    """Return the folder (the key of the stage) and the file name that DVC gives a record."""
    return _get_cache_hash(copy.deepcopy(dict(entry)), key=True), _get_cache_hash(entry)


def write(path: Path, entry: Mapping[str, Any]) -> None:
    """Write a record."""
    part = path.with_name(f".{path.name}.part")
    part.parent.mkdir(parents=True, exist_ok=True)
    dump_yaml(str(part), entry)
    part.replace(path)


def recorded(repo: Repo) -> dict[str, Entry]:
    """Return what dvc.lock holds for each stage."""
    lock = repo.fs.join(repo.root_dir, LOCK_FILE)
    return dict(load_yaml(lock, fs=repo.fs).get("stages", {})) if repo.fs.exists(lock) else {}


def computed_from(repo: Repo, inputs: Collection[str]) -> Iterator[tuple[Path, Entry]]:
    """Yield the records of what was computed from inputs with one of these hashes, at any params."""
    for path in records(repo):
        with suppress(InputError):
            entry = read(path)
            if any(dep.get("md5") in inputs for dep in entry.get("deps", ())):
                yield path, entry


def newest(repo: Repo, stage: PipelineStage) -> Entry | None:
    """Return the newest record for a stage with its dependencies as they stand in it; None without one.

    Raises ForgedError for one that would have files looked up, written or deleted outside the outputs.
    """
    times: dict[Path, int] = {}
    for path in of_key(repo, to_single_stage_lockfile(stage)):
        # garbage collection may have removed it by now
        with suppress(FileNotFoundError):
            times[path] = path.stat().st_mtime_ns
    whole = []
    for path in sorted(times, key=lambda path: times[path], reverse=True):
        try:
            whole.append(read(path))
        except ForgedError as error:
            raise ForgedError(
                f"{stage.name}: its record {path.name} in the run-cache {error}; nothing was written. "
                "Remove it with `retrain check --repair`, and find out who wrote it"
            ) from None
        except InputError:
            continue
    return whole[0] if whole else None


def set_aside_damaged(repo: Repo, stage: PipelineStage) -> list[Path]:
    """Set aside the records for a stage that are not what their names say; return where they are.

    DVC would keep such a record for what it is named after, or fail on it.
    """
    found = of_key(repo, to_single_stage_lockfile(stage))
    return [set_aside(repo, path, DAMAGED) for path, _ in wrong(found)]


def set_aside(repo: Repo, path: Path, folder: str) -> Path:
    """Move a record to a folder of the cache from which nothing is restored; return where it is now."""
    aside = Path(repo.cache.legacy.path, folder, path.name)
    aside.parent.mkdir(parents=True, exist_ok=True)
    path.replace(aside)
    # DVC fails on the folder of a key in which no record is left
    with suppress(OSError):
        path.parent.rmdir()
    return aside
