"""The run whose model is meant where nobody names one: the newest that ended."""

from pathlib import Path

from flows.git.commands import git
from flows.git.uncommitted import uncommitted
from flows.ledger import rollback
from flows.ledger.experiments import save_tree
from flows.ledger.history import newest, this_run
from flows.ledger.journal import RUN_LOCK
from tasks.shared.errors import InputError
from tasks.shared.locks import alone
from tasks.shared.say import Say

# what a run writes that Git keeps
RECORDED = ("dvc.lock", "metrics")


def newest_run(checkout: Path, say: Say) -> tuple[str, str]:
    """Return the name and the commit of the newest complete run.

    What a run has left in the checkout and nobody has committed is kept as an experiment first, with all that
    is not committed beside it. Raises InputError when it is not of one whole run, or there is none at all.
    """
    rollback.recover(checkout, say)
    with alone(checkout / RUN_LOCK, lambda who: say(f"waiting for a run in this checkout ({who})")):
        if git(checkout, "status", "--porcelain", "--", *RECORDED):
            return _kept(checkout, say)
    found = newest(checkout)
    if found is None:
        raise InputError("no run has ended here; `retrain run` makes a model, or name a commit that has one")
    return found.name, str(found.commit)


def _kept(checkout: Path, say: Say) -> tuple[str, str]:
    if not this_run(checkout).is_complete():
        torn = "what dvc.lock and metrics say is not committed, and is not of one whole run"
        raise InputError(f"{torn}; `retrain run` completes it, or name a run")
    taken = uncommitted(checkout, say)
    tree = taken.tree or git(checkout, "rev-parse", "HEAD^{tree}")
    lock = git(checkout, "rev-parse", f"{tree}:./dvc.lock")
    name = f"run-{lock[:8]}"
    saved = save_tree(checkout, tree, name, "a run in the checkout", untracked=taken.untracked)
    if saved.is_new:
        say(f"what the checkout holds is saved as experiment {saved.name}")
    return saved.name, saved.commit
