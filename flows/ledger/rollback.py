"""A run that did not succeed is undone: what stood in the checkout before it is restored."""

from pathlib import Path

from flows.ledger.journal import DEAD, FILE, RUN_LOCK, Journal, discard
from tasks.shared.locks import alone, is_free
from tasks.shared.say import Say


def recover(root: Path, say: Say) -> None:
    """Undo what a run in a checkout that died has left, unless another is under way, which does so itself."""
    lock = root / RUN_LOCK
    if (root / FILE).exists() and is_free(lock):
        with alone(lock):
            undo(root, say, DEAD)


def undo(root: Path, say: Say, whose: str) -> None:
    """Restore what stood in a checkout before a run that was not kept, if there was one, and say so.

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
    # DVC, which takes long to import, is asked only when there is something to undo
    from flows.ledger.stages import Ledger
    from flows.ledger.torn import repair_torn

    undone = journal.restore()
    repair_torn(root, say)
    restored, lost = Ledger(root, say=say).restore(journal.outputs) if journal.outputs else ([], [])
    discard(root)
    if undone or restored:
        say(f"{whose} is undone: params.yaml, dvc.lock, metrics and outputs are as they were before it")
    if lost:
        say(f"warning: {', '.join(lost)} could not be brought back: the DVC cache no longer holds all of it")
