"""The DVC cache without DVC's trust: an object is hashed before it is used, once for each state of its inode.

DVC takes a read-only object for whole, and a file of unchanged inode, time and size for unchanged. Here the
time of the inode's last change counts too, which no call can set. What no inode tells (a bit that has rotted
on the disk since the object was hashed) only `retrain check` finds, which trusts no memory at all.
"""

import os
import shutil
import sqlite3
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from dvc.fs import LocalFileSystem
from dvc.output import Output
from dvc.repo import Repo
from dvc_data.fsutils import _localfs_info
from dvc_data.hashfile.cache import DiskError, HashesCache, Timeout  # type: ignore[attr-defined]
from dvc_data.hashfile.db.local import LocalHashFileDB
from dvc_data.hashfile.hash import hash_file
from dvc_data.hashfile.hash_info import HashInfo
from dvc_data.hashfile.meta import Meta
from dvc_data.hashfile.obj import HashFile
from dvc_data.hashfile.state import State, StateBase
from dvc_objects.errors import ObjectFormatError

import flows.ledger.yaml_limits  # noqa: F401 (before DVC reads YAML)
from tasks.shared.errors import InputError
from tasks.shared.say import Say

# a folder in .dvc/tmp for the checkout's files, and one in the cache for its objects
MEMORY = "verified"


class Inodes(State):
    """The hashes of files by the states of their inodes.

    theirs: DVC's own memory: never asked, but told as well, so that DVC's commands need not hash again.
    """

    def __init__(self, folder: Path, theirs: State | None = None) -> None:
        super().__init__()
        self.theirs = theirs
        if theirs is not None:
            self.root_dir, self.ignore, self.links = theirs.root_dir, theirs.ignore, theirs.links
        try:
            self.hashes = HashesCache(str(folder))
        except (sqlite3.DatabaseError, DiskError):
            # only a memory: without it, all is hashed again
            shutil.rmtree(folder, ignore_errors=True)
            try:
                self.hashes = HashesCache(str(folder))
            except (sqlite3.DatabaseError, OSError) as error:
                why = f"{folder} cannot be written ({error}); free some space there or make it writable"
                raise InputError(why) from None

    def close(self) -> None:
        """Close the databases."""
        self.hashes.close()
        if self.theirs is not None:
            self.theirs.close()  # type: ignore[no-untyped-call]

    def save(self, path: str, fs: Any, hash_info: HashInfo, info: dict[str, Any] | None = None) -> None:
        """Keep the hash of one file."""
        self.save_many([(path, hash_info, info)], fs)

    def save_many(self, items: Iterable[tuple[str, HashInfo, dict[str, Any] | None]], fs: Any) -> None:
        """Keep the hashes of files that are there."""
        if not isinstance(fs, LocalFileSystem):
            return
        here = [item for item in items if os.path.lexists(item[0])]
        known = [(path, hash_info, info or _localfs_info(path)) for path, hash_info, info in here]
        with suppress(sqlite3.Error, Timeout):
            # what cannot be kept is hashed again
            super().save_many([(path, hash_info, _with_ctime(info)) for path, hash_info, info in known], fs)
            if self.theirs is not None:
                self.theirs.save_many(known, fs)

    def _get(self, path: str, raw: str, info: dict[str, Any]) -> tuple[Meta, HashInfo] | None:
        found = super()._get(path, raw, _with_ctime(info))
        return found and (Meta.from_info(info), found[1])


class VerifiedCache(LocalHashFileDB):
    """DVC's cache, in which an object that is not what its name says is set aside, and counts as not cached.

    damaged: the folder that such objects go to. is_looked_at: they stay where they are.
    """

    memory: StateBase
    damaged: Path
    is_looked_at: bool
    say: Say

    def check(self, oid: str, *_: Any, **__: Any) -> Meta:
        """Return what is known of an object.

        Raises FileNotFoundError when it is not there, ObjectFormatError when it is damaged.
        """
        path: str = self.oid_to_path(oid)  # type: ignore[no-untyped-call]
        info = _localfs_info(path)
        if not self._is_whole(oid, path, info):
            if not self.is_looked_at:
                self._set_aside(oid, path, info)
            raise ObjectFormatError(f"{oid} in the DVC cache is damaged")
        return Meta.from_info(info)

    def get(self, oid: str) -> HashFile:
        """Return where an object is; a folder's listing, which DVC reads next, is verified first."""
        if oid.endswith(".dir"):
            # whoever reads it notices that it is not there
            with suppress(FileNotFoundError):
                self.check(oid)
        return super().get(oid)

    def protect(self, path: str) -> None:
        """Make an object read-only, unless it is: to set the same mode would be a new state of the inode."""
        if not self.is_protected(path):  # type: ignore[no-untyped-call]
            super().protect(path)  # type: ignore[no-untyped-call]

    def _is_whole(self, oid: str, path: str, info: dict[str, Any]) -> bool:
        if info["type"] != "file":
            return False
        try:
            _, actual = hash_file(path, self.fs, self.hash_name, self.memory, info=info)
        except FileNotFoundError:
            raise
        except OSError:
            # the disk cannot read it
            return False
        return bool(actual.value == oid.removesuffix(".dir"))

    def set_aside(self, oid: str) -> Path:
        """Move an object out of the cache, where nothing is restored from it; return where it is now."""
        self.damaged.mkdir(exist_ok=True)
        place, number = self.damaged / oid, 1
        while place.exists():
            place, number = self.damaged / f"{oid}.{number}", number + 1
        path: str = self.oid_to_path(oid)  # type: ignore[no-untyped-call]
        Path(path).replace(place)
        return place

    def _set_aside(self, oid: str, path: str, info: dict[str, Any]) -> None:
        """Set aside a damaged object, and say so, unless another run has put a new one in its place."""
        if _with_ctime(_localfs_info(path)) != _with_ctime(info):
            return
        place = self.set_aside(oid)
        self.say(
            f"warning: {oid} in the DVC cache was damaged: it is set aside as {place} and counts as "
            "not cached; if `dvc repro` has computed from it, `retrain check --repair` finds what"
        )


def opened(root: Path, say: Say, *, files: LocalFileSystem | None = None, is_looked_at: bool = False) -> Repo:
    """Open a checkout's DVC repository, its cache verified.

    files: how DVC reads the checkout, when it is not as it lies there.
    is_looked_at: damaged objects stay where they are.
    """
    repo = Repo(str(root), fs=files, _wait_for_lock=True)
    repo.state = Inodes(Path(repo.tmp_dir, MEMORY), repo.state)
    folder = Path(repo.cache.legacy.path)
    memory = Inodes(folder / MEMORY)
    for cache in {id(cache): cache for cache in (repo.cache.local, repo.cache.legacy)}.values():
        # DVC makes its caches itself and has no setting for another class
        cache.__class__ = VerifiedCache
        cache.state, cache.memory = repo.state, memory
        cache.damaged, cache.is_looked_at, cache.say = folder / "damaged", is_looked_at, say
    return repo


def keep(output: Output) -> None:
    """Put an output into the cache that the checkout has whole and the cache has not."""
    if output.changed_cache() and output.exists and not output.changed_checksum():
        output.commit()


def _with_ctime(info: dict[str, Any]) -> dict[str, Any]:
    """Return what is known of a file, with the time of its inode's last change beside the inode's number."""
    return info | {"ino": [info["ino"], info["created"]]}
