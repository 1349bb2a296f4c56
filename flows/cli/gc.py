"""`retrain gc`."""

import sys

from flows.cli.common import OK, Flag, say
from tasks.shared.errors import InputError


def gc(
    *,
    dry_run: Flag = False,
    yes: Flag = False,
) -> int:
    """Free what the DVC cache holds and nothing needs: no branch, tag, experiment, checkout or run under way.

    Runs may go on meanwhile; what they have made so far is kept. What is freed was made by runs that nobody
    kept: the same run computes it again.

    Examples: `retrain gc --dry-run`, `retrain gc --yes`.

    Parameters
    ----------
    dry_run
        Only say what would be freed.
    yes
        Free it without asking.
    """
    from flows.engine import workspace
    from flows.git import worktrees
    from flows.ledger import rollback
    from flows.ledger.garbage import collect

    checkout = workspace.root()
    rollback.recover(checkout, say)
    if not dry_run:
        worktrees.remove_dead(checkout, say)
    found = collect(checkout, dry_run=True)
    if dry_run or not (found.objects or found.records):
        print(f"would free {found}" if found.objects or found.records else "nothing to free")
        return OK
    if not yes:
        if not sys.stdin.isatty():
            others = "`retrain gc --dry-run` shows what would go, `retrain gc --yes` frees it"
            raise InputError(f"there is no terminal to ask at; {others}")
        print(f"free {found}? [y/N] ", end="", flush=True)
        # Ctrl-D is no answer
        if sys.stdin.readline().strip().lower() not in ("y", "yes"):
            return OK
    print(f"freed {collect(checkout, dry_run=False)}")
    return OK
