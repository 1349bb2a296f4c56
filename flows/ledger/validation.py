"""What a hash and a path look like.

What comes from outside is parsed here before anything is looked up, pulled, moved or deleted: the records of
the run-cache, the listings of folders, dvc.lock, .dvc files and refs. Whoever can write to a DVC remote or a
Git remote writes them, and DVC makes paths of what they say as it stands there.
"""

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from dvc.dependency import ParamsDependency
from dvc.fs import LocalFileSystem
from dvc.output import Output
from dvc.stage import Stage
from dvc_data.hashfile.db.local import LocalHashFileDB

from tasks.shared.errors import InputError

# DVC's MD5 of a file, or of a folder's listing
HASH = re.compile(r"[0-9a-f]{32}(\.dir)?")
# with which DVC lists a store
PREFIX = re.compile(r"[0-9a-f]{0,32}")
# what lies there decides what Git, DVC and we do
OURS = (".git", ".dvc", ".retrain")


class ForgedError(InputError):
    """A hash or a path that is none."""


def is_hash(value: object) -> bool:
    """Return whether a value is a hash of DVC's."""
    return isinstance(value, str) and HASH.fullmatch(value) is not None


def climbs(parts: Sequence[str]) -> bool:
    """Return whether a name from a folder's listing may lead out of the folder or into what is Git's own.

    parts: the name, split at its slashes. An absolute one has an empty first part; a backslash separates
    folders elsewhere, and a NUL ends a name early.
    """
    return any(part.lower() in ("", ".", "..", ".git") or "\\" in part or "\0" in part for part in parts)


def behind_link(folder: Path, parts: Sequence[str]) -> bool:
    """Return whether a name that does not climb would be reached through a symbolic link below `folder`."""
    return any((folder / parent).is_symlink() for parent in PurePosixPath(*parts).parents if parent.name)


def wrong_entry(entry: Mapping[str, Any]) -> str | None:
    """Return what cannot be in a stage's entry, of dvc.lock or of the run-cache; None when all of it can."""
    paths = [item["path"] for item in entry.get("outs") or ()]
    for path in paths:
        if climbs(path.split("/")):
            return f"its output {path!r} is outside the checkout"
        if paths.count(path) > 1:
            return f"its output {path!r} stands there twice"
    for item in (*(entry.get("deps") or ()), *(entry.get("outs") or ())):
        hashes = [item[name] for name in ("md5", "etag", "checksum") if name in item]
        if wrong := _wrong(item.get("hash", "md5"), hashes, item.get("files") or ()):
            return f"{item['path']}: {wrong}"
    return None


def wrong_stage(stage: Stage) -> str | None:
    """Return what cannot be in a stage as DVC has read it from dvc.lock or a .dvc file; None when all can."""
    for output in stage.outs if stage.is_data_source else ():
        if not _is_inside(output):
            kept = "among what Git, DVC or retrain keep there"
            return f"its output {output.def_path!r} is outside the checkout, or {kept}"
    for source in stage.deps:
        if source.def_fs_config and source.def_path.startswith("remote://"):
            return f"{source.def_path}: its fs_config would have the secrets of that remote sent elsewhere"
    for item in (*stage.deps, *stage.outs):
        # what is outside the checkout is known by what its store says of it, and never looked up in the cache
        if isinstance(item, ParamsDependency) or (item.IS_DEPENDENCY and not item.is_in_repo):
            continue
        hashes = [item.hash_info.value] if item.hash_info else []
        if wrong := _wrong(item.hash_name, hashes, item.files or ()):
            return f"{item.def_path}: {wrong}"
    return None


def wrong_listing(folder: Path, listing: Iterable[Any]) -> str | None:
    """Return what cannot be in the listing of a folder, as DVC has read it; None when all of it can."""
    for parts, _, found in listing:
        name = "/".join(parts)
        if climbs(parts) or behind_link(folder, parts):
            return f"names {name!r}, which is outside the folder or behind a link"
        if found is None or not is_hash(found.value) or found.isdir:
            return f"has {found and found.value!r} for the hash of {name!r}"
    return None


def refuse_forged(stages: Iterable[Stage]) -> Iterator[Stage]:
    """Yield stages, of dvc.yaml or .dvc files; raise ForgedError for one whose hashes or paths are none."""
    for stage in stages:
        if wrong := wrong_stage(stage):
            remedy = "Find out who wrote it (`git log`), and take an older one from Git"
            raise ForgedError(f"{place(stage)}: {wrong}; nothing was written. {remedy}")
        yield stage


def place(stage: Stage) -> str:
    """Return where it stands what a stage's outputs are."""
    if stage.is_data_source:
        return str(os.path.relpath(stage.path, stage.repo.root_dir))
    return f"dvc.lock, stage {stage.name}"


def _wrong(name: str, hashes: Iterable[object], files: Iterable[Mapping[str, Any]]) -> str | None:
    if name not in ("md5", "md5-dos2unix"):
        return f"hash {name!r}, where DVC has md5"
    for value in hashes:
        if value is not None and not is_hash(value):
            return f"its hash {value!r} is none"
    for file in files:
        if climbs(file["relpath"].split("/")):
            return f"its file {file['relpath']!r} is outside the folder"
        if file.get("md5") is not None and not is_hash(file["md5"]):
            return f"the hash {file['md5']!r} of its file {file['relpath']!r} is none"
    return None


def _is_inside(output: Output) -> bool:
    """Return whether an output lies below the checkout, links followed, and not in a folder of `OURS`."""
    if not output.is_in_repo:
        return False
    root = output.repo.root_dir
    # as it stands there: the folders of a commit have nothing above them that DVC could climb to
    folder = os.path.relpath(output.stage.wdir, root)
    path = os.path.normpath(os.path.join(folder, output.def_path))  # noqa: PTH118
    parts = path.split("/")
    if climbs(parts) or parts[0].lower() in OURS:
        return False
    is_commit = not isinstance(output.repo.fs, LocalFileSystem)
    return is_commit or Path(root, path).parent.resolve().is_relative_to(Path(root).resolve())


def _path_of_hash(self: LocalHashFileDB, oid: str, made: Any = LocalHashFileDB.oid_to_path) -> str:
    """Return where a store in this machine's files keeps an object.

    Here DVC makes a path of what it has read somewhere.
    """
    if not (is_hash(oid) or PREFIX.fullmatch(oid)):
        raise ForgedError(f"{oid!r} is no hash, so nothing was looked up; `retrain check` says what names it")
    return str(made(self, oid))


LocalHashFileDB.oid_to_path = _path_of_hash  # type: ignore[method-assign]
