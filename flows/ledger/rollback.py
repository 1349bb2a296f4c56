"""A run that did not succeed is undone: what stood in the checkout before it is put back. DVC is imported only when there is something to undo."""

from collections.abc import Callable
from pathlib import Path

from flows.ledger.journal import DEAD, FILE, RUN_LOCK, Journal, discard
from tasks.shared.locks import alone, is_free


def recover(root: Path, say: Callable[[str], None]) -> None:
    """Undo what a run in a checkout that died has left, unless another is under way, which does so itself."""
    lock = root / RUN_LOCK
    if (root / FILE).exists() and is_free(lock):
        with alone(lock):
            undo(root, say, DEAD)


def undo(root: Path, say: Callable[[str], None], whose: str) -> None:
    """Undo a run in a checkout that has not been kept, if there is one; DVC is imported only then."""
    if (root / FILE).exists():
        roll_back(root, say, whose)


def roll_back(root: Path, say: Callable[[str], None], whose: str) -> None:
    """Put back what stood in a checkout before a run that did not succeed, and say so; nothing if there was none.

    What somebody else has changed in params.yaml or dvc.lock since is left, and all that may be made from it.
    """
    from flows.ledger.stages import Ledger
    from flows.ledger.torn import repair_torn

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
    repair_torn(root, say)
    brought, lost = Ledger(root, say=say).put_back(journal.outputs) if journal.outputs else ([], [])
    discard(root)
    if undone or brought:
        say(f"{whose} is undone: params.yaml, dvc.lock, metrics and outputs are as they were before it")
    if lost:
        say(f"warning: {', '.join(lost)} could not be brought back: the DVC cache no longer holds all of it")
