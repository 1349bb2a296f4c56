"""The commands of `retrain` that keep things going: add, check, gc, up, down. Those that compute are in flows/cli/app.py."""

import os
import sys
from typing import Annotated

from cyclopts import Parameter

from tasks.shared.errors import InputError

OK, FAILED = 0, 1


def check(revision: str | None = None, /, *, repair: Annotated[bool, Parameter(negative=())] = False) -> int:
    """Hash again what the DVC cache holds for a revision, byte for byte, and say what is damaged or missing.

    DVC takes a read-only file in its cache for whole, so `dvc status`, `dvc push` and `dvc pull` never notice a flipped bit.
    Exit status: 0 all whole (or mended), 1 something is not, 2 wrong input.

    Examples: `retrain check`, `retrain check main --repair`.

    Parameters
    ----------
    revision
        A commit, branch, tag or experiment, read without being checked out; by default what stands in the checkout now.
    repair
        Mend it: from the checkout's own files, from a DVC remote, from where data was imported, or by computing it again.
    """
    from flows.engine import workspace
    from flows.fsck.check import check as examine
    from flows.ledger import rollback

    rollback.recover(workspace.root(), say)
    return OK if examine(workspace.root(), revision, repair=repair, show=print, say=say) else FAILED


def gc(
    *,
    dry_run: Annotated[bool, Parameter(negative=())] = False,
    yes: Annotated[bool, Parameter(negative=())] = False,
) -> int:
    """Free what the DVC cache holds and nothing needs: no branch, tag, experiment, checkout or run under way.

    Runs may go on meanwhile; what they have made so far is kept. What is freed was made by runs that nobody kept:
    the same run computes it again.

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
            raise InputError("there is no terminal to ask at; `retrain gc --dry-run` shows what would go, `retrain gc --yes` frees it")
        if input(f"free {found}? [y/N] ").strip().lower() not in ("y", "yes"):
            return OK
    print(f"freed {collect(checkout, dry_run=False)}")
    return OK


def add(source: str, name: str | None = None, /) -> int:
    """Bring a file, folder or URL into data/raw under DVC, or take in its newer state.

    Examples: `retrain add ../exports/support.csv`, `retrain add s3://bucket/support support`.

    Parameters
    ----------
    source
        A path or URL; `dvc import-url` takes it, so `dvc update data/raw/NAME.dvc` takes in its newer state too.
    name
        What to call it in data/raw; by default the last part of SOURCE.
    """
    from flows.engine import workspace

    checkout = workspace.root()
    path = workspace.add(source, name, checkout, say)
    say(f"train on it with: retrain run --data.path {path}")
    return OK


def up(*, host: str = "127.0.0.1", port: int = 4200, workers: int = 1, limit: int = 4) -> int:
    """Start a Prefect server, its worker and all deployments on this machine, and wait until they answer. Twice is harmless.

    What is new in prefect.yaml and params.yaml is registered each time. With PREFECT_API_URL set to a server elsewhere, only workers are started.

    The server asks for a password: one that is made the first time and kept in .retrain/password, or yours in
    PREFECT_SERVER_API_AUTH_STRING.

    Examples: `retrain up`, `retrain up --workers 2 --limit 1`, `PREFECT_SERVER_API_AUTH_STRING=me:secret retrain up`.

    Parameters
    ----------
    host
        The address the server listens on. Anything but loopback needs a password of yours:
        PREFECT_SERVER_API_AUTH_STRING.
    port
        The port the server listens on.
    workers
        How many workers to start.
    limit
        How many runs each worker does at once; the others wait.
    """
    from flows.engine import workspace
    from flows.server import services

    checkout = workspace.root()
    os.chdir(checkout)
    url = services.up(checkout, say, host=host, port=port, workers=workers, limit=limit)
    print(services.what_to_click(checkout, url))
    return OK


def down() -> int:
    """End the server and the workers that `retrain up` started here, and nothing else. Training keeps a checkpoint first."""
    from flows.engine import workspace
    from flows.server import services

    services.down(workspace.root(), say)
    return OK


def say(sentence: str, *_: object) -> None:
    """Tell the user what is going on, beside the output."""
    print(sentence, file=sys.stderr, flush=True)
