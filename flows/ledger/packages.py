"""The package that a revision's run made, out of the DVC cache, for a run that starts from it."""

import shutil
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

from flows.ledger.cache import opened
from flows.ledger.experiments import commit_named
from flows.ledger.history import committed
from flows.ledger.listings import listed
from tasks.shared import base_models
from tasks.shared.errors import InputError

PACKAGE = "models/package"


def keep(checkout: Path, name: str, say: Callable[[str], None]) -> str:
    """Keep the package of an experiment, commit, branch or tag, and return its revision.

    name: as `model.name` says it, exp:NAME. Raises InputError when there is no such revision, it made no
    package, or the cache does not hold it whole.
    """
    revision = name.removeprefix(base_models.EXPERIMENT)
    record = committed(checkout, commit_named(checkout, revision), revision)
    digest = record.outputs.get(PACKAGE)
    if digest is None:
        none = f"'{revision}' has no {PACKAGE} in its dvc.lock"
        raise InputError(f"model.name: {none}; name a revision whose run ended")
    base_models.BASES.mkdir(parents=True, exist_ok=True)
    with closing(opened(checkout, say)) as repo, TemporaryDirectory(dir=base_models.BASES) as made:
        cache = repo.cache.local
        folder = Path(made) / "package"
        files = listed(cache, digest, folder)
        if not files:
            raise InputError(f"model.name: {_missing(revision, PACKAGE)}")
        for path, its in sorted(files.items()):
            there = Path(cache.oid_to_path(its))
            try:
                # hashed again, unless it is as it was when it was hashed last
                cache.check(its)
            except Exception:  # noqa: BLE001 (DVC says that it is missing or damaged in several ways)
                raise InputError(f"model.name: {_missing(revision, f'{PACKAGE}/{path}')}") from None
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(there, folder / path)
        return base_models.keep_package(folder, name)


def _missing(revision: str, what: str) -> str:
    remedy = f"`dvc pull` it there, or `retrain check {revision} --repair`"
    return f"the DVC cache does not hold {what} of '{revision}'; {remedy}"
