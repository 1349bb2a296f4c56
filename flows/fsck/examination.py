"""Whether the DVC cache still holds, byte for byte, what a revision needs. DVC itself believes the mode of a read-only file."""

import json
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from dvc.exceptions import DvcException
from dvc.output import Output
from dvc.repo import Repo
from dvc.repo.brancher import switch
from dvc_data.hashfile.hash import fobj_md5
from tqdm import tqdm
from tqdm.utils import CallbackIOWrapper

from flows.ledger.run_cache import Record, others, recorded, records
from flows.ledger.stages import sentence
from flows.ledger.validation import ForgedError, behind_link, climbs, is_hash, place, wrong_stage
from tasks.shared.errors import InputError

NAMED = re.compile(rb'"md5": "([0-9a-f]{32})", "relpath": "([^"\\]+)"')  # what can still be read of a listing that is damaged
SHOWN = 3  # places of one object that a line names


class What(StrEnum):
    """What is wrong with an object."""

    damaged = "damaged"  # its bytes are not those it is named after
    missing = "missing"
    dangerous = "dangerous"  # a listing that would have files written outside their folder
    forged = "forged"  # a hash or a path that is none, in dvc.lock, a .dvc file or a record of the run-cache


@dataclass
class Needed:
    """An object that a revision needs, and all that the revision needs it for.

    places: paths in the checkout, each with what makes it: a stage's name, or "" for data under DVC.
    spare: only the run-cache names it: a metric, which stands in Git, or another result of the same inputs; it may be absent.
    origin: where it was imported from.
    """

    hash: str
    hash_name: str
    cache: Any  # DVC's object store
    places: dict[str, str] = field(default_factory=dict)
    spare: bool = True
    remote: str | None = None
    origin: tuple[Any, str] | None = None

    @property
    def path(self) -> Path:
        """Where the cache keeps it."""
        return Path(self.cache.oid_to_path(self.hash))

    @property
    def is_listing(self) -> bool:
        """Whether it lists the files of a folder."""
        return self.hash.endswith(".dir")

    def __str__(self) -> str:
        named = [f"{f'stage {stage}' if stage else 'data'}: {place}" for place, stage in self.places.items()]
        more = f" and {len(named) - SHOWN} more" if len(named) > SHOWN else ""
        return f"{', '.join(named[:SHOWN])}{more}{' (the listing of the folder)' if self.is_listing else ''}"


@dataclass
class Finding:
    """An object that is not as it should be. copies: files of the checkout with the same damage."""

    object: Needed
    what: What
    copies: list[Path] = field(default_factory=list)

    def __str__(self) -> str:
        why = "; it would have files written outside the folder: delete it and find out who wrote it" if self.what == What.dangerous else ""
        also = "; the checkout's own file is damaged too" if self.copies else ""
        return f"{self.what:9} {self.object.hash}  {self.object}{why}{also}"


class Examination:
    """The objects that a revision needs, hashed byte by byte and without DVC's notes; what was found whole is not hashed again.

    commit: the revision; None for what stands in the checkout.
    """

    def __init__(self, checkout: Path, commit: str | None) -> None:
        self.checkout, self.commit = checkout, commit
        self.whole: dict[Path, int] = {}  # and their sizes
        self.objects: dict[Path, Needed] = {}
        self.records: list[Record] = []
        self.forged: dict[str, str] = {}  # what cannot be in dvc.lock and .dvc files, by where it stands
        try:
            self.repo = Repo(str(checkout), _wait_for_lock=True)
            with self._revision():
                for stage in self.repo.index.stages:
                    if wrong := wrong_stage(stage):
                        self.forged[place(stage)] = wrong
                        continue
                    for output in stage.outs:
                        if output.hash_info and output.is_in_repo:
                            self._need(output)
                self.recorded = recorded(self.repo)
                self.records = list(records(self.repo, self.recorded))
            for record in self.records:
                for path, digest in record.outputs().items():
                    item = Needed(digest, "md5", self.repo.cache.local)
                    self.objects.setdefault(item.path, item).places[path] = record.stage
        except DvcException as error:
            raise InputError(sentence(error)) from None

    @property
    def count(self) -> int:
        """How many objects and records of the run-cache the revision needs, as far as its listings can be read."""
        return len([item for item in self.objects.values() if not item.spare or item.path.exists()]) + len(self.records)

    @property
    def size(self) -> int:
        """The bytes of the objects that are whole."""
        return sum(self.whole.values())

    def bad_records(self) -> Iterator[tuple[Record, What, str]]:
        """Yield the records of the whole run-cache from which nothing may be restored, and why."""
        here = [record for record in self.records if record.path.exists()]
        for record in (*here, *others(self.repo, here)):
            if wrong := record.wrong():
                yield record, What.forged if isinstance(wrong, ForgedError) else What.damaged, str(wrong)

    def findings(self) -> list[Finding]:
        """Return what is wrong with the objects now: listings first, then what they list."""
        listings = [item for item in self.objects.values() if item.is_listing]
        found = self._examine(listings)
        dangerous = []
        for item in listings:
            raw = item.path.read_bytes() if item.path.exists() else b""
            if item.path not in self.whole:
                for name, digest in _still_readable(raw):
                    self._need_listed(item, name, digest)
                continue
            names = _listed(raw)
            if names is None or any(self._behind_link(item, name) for name in names):
                dangerous.append(Finding(item, What.dangerous))
                continue
            for name, digest in names.items():
                self._need_listed(item, name, digest, is_sure=True)
        found = [*dangerous, *found]
        return found + self._examine([item for item in self.objects.values() if not item.is_listing])

    def digest(self, path: Path, hash_name: str, advance: Callable[[int], object] = lambda _: None) -> str:
        """Return the hash of a file's bytes as they are now."""
        with path.open("rb") as file:
            return str(fobj_md5(CallbackIOWrapper(advance, file), name=hash_name))

    def _revision(self) -> AbstractContextManager[Any]:
        return switch(self.repo, self.commit) if self.commit else nullcontext()

    def _need(self, output: Output) -> None:
        item = Needed(output.hash_info.value, output.hash_name, output.cache)
        item = self.objects.setdefault(item.path, item)
        place = output.fs.relpath(output.fs_path, self.repo.root_dir)
        item.places[place] = getattr(output.stage, "name", None) or ""
        item.spare &= not output.use_cache
        item.remote = output.remote or item.remote
        if output.stage.is_import and not output.stage.is_repo_import:
            item.origin = output.stage.deps[0].fs, output.stage.deps[0].fs_path

    def _need_listed(self, listing: Needed, name: str, digest: str, *, is_sure: bool = False) -> None:
        item = Needed(digest, listing.hash_name, listing.cache)
        if not is_sure and not item.path.exists():
            return
        item = self.objects.setdefault(item.path, item)
        item.places |= {f"{place}/{name}": stage for place, stage in listing.places.items()}
        item.spare &= listing.spare
        item.remote = listing.remote or item.remote
        if listing.origin:
            item.origin = listing.origin[0], f"{listing.origin[1]}/{name}"

    def _behind_link(self, listing: Needed, name: str) -> bool:
        return any(behind_link(self.checkout / place, name.split("/")) for place in listing.places)

    def _examine(self, items: list[Needed]) -> list[Finding]:
        items = [item for item in items if item.path not in self.whole]
        found = []
        total = sum(item.path.stat().st_size for item in items if item.path.exists())
        with tqdm(total=total, desc="checking", unit="B", unit_scale=True, leave=False, disable=not sys.stderr.isatty()) as bar:
            for item in items:
                try:
                    actual = self.digest(item.path, item.hash_name, bar.update)
                except FileNotFoundError:
                    found += [] if item.spare else [Finding(item, What.missing)]
                    continue
                except OSError:  # the disk cannot read it
                    actual = None
                if actual == item.hash.removesuffix(".dir"):
                    self.whole[item.path] = item.path.stat().st_size
                else:
                    found.append(Finding(item, What.damaged, [copy for copy in self._files(item) if self._has_damage(copy, item, actual)]))
        return found

    def _files(self, item: Needed) -> list[Path]:
        files = [] if item.is_listing else [self.checkout / place for place in item.places]
        return [file for file in files if file.is_file()]

    def _has_damage(self, copy: Path, item: Needed, actual: str | None) -> bool:
        return copy.samefile(item.path) or (actual is not None and self.digest(copy, item.hash_name) == actual)


def _listed(raw: bytes) -> dict[str, str] | None:
    """Return the hashes in a listing by their names; None when it is no listing, or one that leads out of its folder or the cache."""
    try:
        found = {str(entry["relpath"]): str(entry["md5"]) for entry in json.loads(raw)}
    except (ValueError, TypeError, KeyError):
        return None
    for name, digest in found.items():
        if climbs(name.split("/")) or not is_hash(digest) or digest.endswith(".dir"):
            return None
    return found


def _still_readable(raw: bytes) -> Iterator[tuple[str, str]]:
    """Yield the names and hashes that can be read in a damaged listing; each of them may be wrong."""
    for digest, name in NAMED.findall(raw):
        text = name.decode(errors="replace")
        if not climbs(text.split("/")):
            yield text, digest.decode()
