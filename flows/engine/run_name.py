"""The name of a run as it may stand in paths, refs and keys: somebody gives it in the UI or the API."""

import re
from collections.abc import Collection
from pathlib import Path

from tasks.shared.locks import is_free
from tasks.shared.say import Say

# no dot, so that nothing is `..`, hidden or called `.lock`; no dash in front, so that nothing is an option
PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
LONGEST = 60
# characters of a run's id that tell two runs of one name apart
ID_PART = 8


def safe(name: str | None, run: str, taken: Collection[str] = ()) -> str:
    """Return a run's name if it is plain and free, else what is plain in it and the start of the run's id.

    The result is one component of a path and of a Git ref, of at most 69 characters. A name that was given to
    more than one run, or had to be changed, is told from others by the id, which no other run has.
    """
    name = name or ""
    if PLAIN.fullmatch(name) and len(name) <= LONGEST and name not in taken:
        return name
    kept = re.sub(r"[^A-Za-z0-9_]+", "-", name).strip("-_")[:LONGEST]
    return "-".join(part for part in (kept, run[:ID_PART]) if part)


def unique(given: str | None, run: str, checkout: Path, say: Say) -> str:
    """Return the name under which a run keeps what it makes; say so when it is not the one it was given."""
    from flows.ledger.experiments import experiments

    locks = (checkout / ".retrain" / "worktrees").glob("*.lock")
    taken = {experiment.name for experiment in experiments(checkout, say)}
    taken |= {lock.stem for lock in locks if not is_free(lock)}
    name = safe(given, run, taken)
    if name != given:
        say(f"what this run keeps is called {name}: its own name is taken, or cannot stand in paths and refs")
    return name
