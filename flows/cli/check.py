"""`retrain check`."""

from flows.cli.common import FAILED, OK, Flag, say


def check(revision: str | None = None, /, *, repair: Flag = False) -> int:
    """Hash again what the DVC cache holds for a revision, byte for byte, and say what is damaged or missing.

    DVC takes a read-only file in its cache for whole, so `dvc status`, `dvc push` and `dvc pull` never notice
    a flipped bit.
    Exit status: 0 all whole (or repaired), 1 something is not, 2 wrong input.

    Examples: `retrain check`, `retrain check main --repair`.

    Parameters
    ----------
    revision
        A commit, branch, tag or experiment, read without being checked out; by default what stands in the
        checkout now.
    repair
        Repair it: from the checkout's own files, from a DVC remote, from where data was imported, or by
        computing it again.
    """
    from flows.engine import workspace
    from flows.fsck.check import check as examine
    from flows.ledger import rollback

    checkout = workspace.root()
    rollback.recover(checkout, say)
    return OK if examine(checkout, revision, repair=repair, show=print, say=say) else FAILED
