"""Packages that runs made, out of the DVC cache: to start from, to be compared with, to be served."""

import os
import shutil
from collections.abc import Collection
from contextlib import AbstractContextManager, ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Self

from flows.ledger.cache import opened
from flows.ledger.experiments import commit_named
from flows.ledger.history import Record, committed
from flows.ledger.listings import listed
from flows.ledger.remote import Remote
from flows.ledger.results import LostError
from tasks.shared import base_models, champions
from tasks.shared.errors import InputError
from tasks.shared.say import Say

PACKAGE = "models/package"
SPLITS = "data/splits"
JUDGED = "plots/judge"
DRAWN = "plots/evaluate"


def keep(checkout: Path, name: str, say: Say) -> str:
    """Keep the package of an experiment, commit, branch or tag, and return its revision.

    name: as `model.name` says it, exp:NAME. Raises InputError when there is no such revision, it made no
    package, or the cache does not hold it whole.
    """
    revision = name.removeprefix(base_models.EXPERIMENT)
    record = committed(checkout, commit_named(checkout, revision), revision)
    with TakenOut(checkout, record, "model.name", say) as out:
        return base_models.keep_package(out.folder(PACKAGE), name)


def keep_champion(checkout: Path, commit: str, name: str, say: Say) -> str:
    """Keep the package of a commit and the rows that it was trained and selected on; return its digest.

    name: what people call it. Raises InputError as `keep` does.
    """
    with TakenOut(checkout, committed(checkout, commit, name), champions.PARAM, say) as out:
        return champions.keep(out.folder(PACKAGE), out.folder(SPLITS, champions.KNOWN))


def export(checkout: Path, commit: str, name: str, to: Path, say: Say) -> None:
    """Write the package of a commit into a folder that is not there; raise InputError as `keep` does."""
    with TakenOut(checkout, committed(checkout, commit, name), name, say) as out:
        part = to.with_name(f".{to.name}.{os.getpid()}.part")
        try:
            shutil.copytree(out.folder(PACKAGE), part)
            part.rename(to)
        finally:
            shutil.rmtree(part, ignore_errors=True)


@dataclass
class TakenOut(AbstractContextManager["TakenOut"]):
    """Folders of a run, taken out of the DVC cache for a while; what only the remote has is pulled.

    what: the beginning of a sentence that says what is missing.
    """

    checkout: Path
    record: Record
    what: str
    say: Say
    held: ExitStack = field(default_factory=ExitStack)

    def __enter__(self) -> Self:
        """Open the cache, and make a folder beside the base models."""
        base_models.BASES.mkdir(parents=True, exist_ok=True)
        self.made = Path(self.held.enter_context(TemporaryDirectory(dir=base_models.BASES)))
        self.repo = self.held.enter_context(closing(opened(self.checkout, self.say)))
        return self

    def __exit__(self, *of: object) -> None:
        """Remove the folder."""
        self.held.close()

    def folder(self, name: str, only: Collection[str] = ()) -> Path:
        """Return an output, or some files of it, each hashed unless it is as it was when hashed last."""
        digest = self.record.outputs.get(name)
        if digest is None:
            none = f"'{self.record.name}' has no {name} in its dvc.lock"
            raise InputError(f"{self.what}: {none}; name a revision whose run ended")
        cache, to = self.repo.cache.local, self.made / name
        files = listed(cache, digest, to)
        if not files or not all(
            _is_whole(cache, its) for path, its in files.items() if not only or path in only
        ):
            Remote(self.repo, self.say).pull_folder(digest)
            files = listed(cache, digest, to)
        if not files:
            raise self._missing(name)
        for path in sorted(only or files):
            if path not in files or not _is_whole(cache, files[path]):
                raise self._missing(f"{name}/{path}")
            (to / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(cache.oid_to_path(files[path]), to / path)
        return to

    def _missing(self, what: str) -> LostError:
        revision = self.record.name
        remedy = f"`dvc pull` it there, or `retrain check {revision} --repair`"
        return LostError(f"{self.what}: the DVC cache does not hold {what} of '{revision}'; {remedy}")


def _is_whole(cache: Any, digest: str) -> bool:
    """Return whether the cache holds an object whose content is what its name says."""
    try:
        cache.check(digest)
    except Exception:  # noqa: BLE001 (DVC says that it is missing or damaged in several ways)
        return False
    return True
