"""What sudden death has left torn in a checkout, put right before DVC reads it."""

import json
from pathlib import Path

from dvc.dvcfile import LOCK_FILE
from dvc.rwlock import RWLOCK_FILE, SCHEMA
from dvc.schema import COMPILED_LOCKFILE_SCHEMA
from dvc.utils.serialize import ParseError, load_yaml
from voluptuous import Invalid

import flows.ledger.yaml_limits  # noqa: F401 (before DVC reads YAML)
from flows.ledger.running import without_gc
from flows.ledger.validation import wrong_entry
from tasks.shared.say import Say

EMPTY = "schema: '2.0'\nstages: {}\n"


def repair_torn(root: Path, say: Say) -> None:
    """Put right what an earlier death left torn in the checkout, and say what it was."""
    lock, held = root / LOCK_FILE, root / ".dvc/tmp" / RWLOCK_FILE
    if not (_is_torn(lock) or _is_torn_rwlock(held)):
        return
    # a DVC that is alive writes both in place, and has its own lock for that: it is done by then
    with without_gc(root):
        if _is_torn(lock):
            torn = lock.with_name(f"{LOCK_FILE}.torn")
            lock.replace(torn)
            rest = "what it recorded is restored from the run-cache"
            say(f"dvc.lock was torn (half written, or empty) and is set aside as {torn.name}; {rest}")
        if _is_torn_rwlock(held):
            held.unlink()
            say(f"{held.relative_to(root)} was torn, so DVC would have refused all work; it is removed")


def repaired(root: Path) -> dict[Path, str]:
    """Return the text that `repair_torn` would give dvc.lock, by its path; nothing when that is not torn."""
    lock = root / LOCK_FILE
    return {lock: EMPTY} if _is_torn(lock) else {}


def _is_torn_rwlock(held: Path) -> bool:
    try:
        SCHEMA(json.loads(held.read_text("utf-8")))
    except FileNotFoundError:
        return False
    except (ValueError, Invalid):
        return True
    return False


def _is_torn(lock: Path) -> bool:
    if not lock.exists():
        return False
    try:
        held = COMPILED_LOCKFILE_SCHEMA(load_yaml(str(lock)))
    except (ParseError, Invalid):
        return True
    # DVC ends its last line; what breaks off within a hash can be YAML all the same
    is_whole = lock.read_text("utf-8").endswith("\n")
    return not is_whole and any(map(wrong_entry, held.get("stages", {}).values()))
