"""Putting a checkout right: undoing a run that did not succeed, and what sudden death has left torn."""

import json
from collections.abc import Callable
from pathlib import Path

from dvc.dvcfile import LOCK_FILE
from dvc.rwlock import RWLOCK_FILE, SCHEMA
from dvc.schema import COMPILED_LOCKFILE_SCHEMA
from dvc.utils.serialize import ParseError, load_yaml
from voluptuous import Invalid

from flows.ledger.journal import Journal, discard
from flows.ledger.stages import Ledger

EMPTY = "schema: '2.0'\nstages: {}\n"


def roll_back(root: Path, say: Callable[[str], None], whose: str) -> None:
    """Put back what stood in a checkout before a run that did not succeed, and say so; nothing if there was none.

    What somebody else has changed in params.yaml or dvc.lock since is left, and all that may be made from it.
    """
    journal = Journal.of(root)
    if journal is None:
        return
    changed = [name for name in journal.ours if not journal.is_ours(name)]
    if changed:
        discard(root)
        others = " and ".join(changed)
        hint = "`git diff` shows what stands there now"
        say(f"{whose} is not undone, because something else has changed {others} since; {hint}")
        return
    undone = journal.put_back()
    mend(root, say)
    brought, lost = Ledger(root, say=say).put_back(journal.outputs) if journal.outputs else ([], [])
    discard(root)
    if undone or brought:
        say(f"{whose} is undone: params.yaml, dvc.lock, metrics and outputs are as they were before it")
    if lost:
        say(f"warning: {', '.join(lost)} could not be brought back: the DVC cache no longer holds all of it")


def mend(root: Path, say: Callable[[str], None]) -> None:
    """Put right what an earlier death left torn in the checkout, and say what it was."""
    lock, held = root / LOCK_FILE, root / ".dvc/tmp" / RWLOCK_FILE
    if lock.exists() and _is_torn(lock):
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
    lock = root / LOCK_FILE
    return {lock: EMPTY} if lock.exists() and _is_torn(lock) else {}


def _is_torn(lock: Path) -> bool:
    try:
        COMPILED_LOCKFILE_SCHEMA(load_yaml(str(lock)))
    except (ParseError, Invalid):
        return True
    return False
