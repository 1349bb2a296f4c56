"""What sudden death leaves torn in a checkout, and putting it right: dvc.lock half written, DVC's own lock file half written."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from dvc.dvcfile import LOCK_FILE
from dvc.rwlock import RWLOCK_FILE, SCHEMA
from dvc.schema import COMPILED_LOCKFILE_SCHEMA
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from voluptuous import Invalid

from tasks.files import replace

JOURNAL = ".retrain/dvc.lock.before"
EMPTY = "schema: '2.0'\nstages: {}\n"


@contextmanager
def journal(root: Path) -> Iterator[None]:
    """Keep dvc.lock as it stands until what is done inside has been done whole: DVC truncates it in place.

    An error puts it back at once; after sudden death, `mend` does.
    """
    lock, before = root / LOCK_FILE, root / JOURNAL
    before.parent.mkdir(exist_ok=True)
    replace(before, lock.read_text("utf-8") if lock.exists() else "")
    try:
        yield
    except BaseException:
        _roll_back(lock, before)
        raise
    before.unlink()


def mend(root: Path, say: Callable[[str], None]) -> None:
    """Put right what an earlier death left torn in the checkout, and say what it was."""
    lock, before, held = root / LOCK_FILE, root / JOURNAL, root / ".dvc/tmp" / RWLOCK_FILE
    if before.exists():
        _roll_back(lock, before)
        say("dvc.lock was being written when an earlier run died; it is back as it stood before")
    elif lock.exists() and _is_torn(lock):
        torn = lock.with_name(f"{LOCK_FILE}.torn")
        lock.replace(torn)
        say(f"dvc.lock was torn (half written, or empty) and is set aside as {torn.name}; what it recorded is restored from the run-cache")
    if held.exists():
        try:
            SCHEMA(json.loads(held.read_text("utf-8")))
        except (ValueError, Invalid):
            held.unlink()
            say(f"{held.relative_to(root)} was torn, so DVC would have refused all work; it is removed")


def mended(root: Path) -> dict[Path, str]:
    """Return the text that `mend` would give dvc.lock, by its path: nothing when it would leave it as it is."""
    lock, before = root / LOCK_FILE, root / JOURNAL
    if before.exists():
        return {lock: before.read_text("utf-8") or EMPTY}
    return {lock: EMPTY} if lock.exists() and _is_torn(lock) else {}


def _roll_back(lock: Path, before: Path) -> None:
    if before.stat().st_size:
        before.replace(lock)
    else:
        lock.unlink(missing_ok=True)
        before.unlink()


def _is_torn(lock: Path) -> bool:
    try:
        COMPILED_LOCKFILE_SCHEMA(YAML(typ="safe").load(lock.read_text("utf-8")))
    except (YAMLError, Invalid, UnicodeDecodeError):
        return True
    return False
