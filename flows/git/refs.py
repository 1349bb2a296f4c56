"""Refs, which all runs of a repository share: changed by one at a time, whatever a kill has left."""

import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from flows.git.commands import git, identity, names
from flows.git.uncommitted import write_tree
from tasks.shared.errors import InputError
from tasks.shared.locks import alone

# for Git: the ref is not there
NONE = "0" * 40
HELD = re.compile(r"Unable to create '(.+?\.lock)': File exists")
# DVC's namespace
EXPERIMENTS = "refs/exps"
# behind the name of a run that is under way; no name of a run or experiment of ours has a dot
RUNNING = ".running"
# seconds: Git itself holds the lock of a ref for milliseconds
STALE = 5.0


def shared(where: Path) -> Path:
    """Return the folder of Git that all worktrees of a repository share."""
    return (where / git(where, "rev-parse", "--git-common-dir")).resolve()


@contextmanager
def changing(where: Path) -> Iterator[None]:
    """Be the only one of all runs of this repository that changes its refs or worktrees."""
    with alone(shared(where) / "retrain.lock"):
        yield


def change(where: Path, *words: str, env: Mapping[str, str] | None = None, given: str | None = None) -> str:
    """Run a command of Git that changes refs or worktrees, alone; return what it printed.

    Git's own lock of a ref, held by somebody else, is waited for; one that a kill has left is removed.
    """
    with changing(where):
        while True:
            try:
                return git(where, *words, env={**(env or {}), "LC_ALL": "C"}, given=given)
            except InputError as error:
                held = HELD.search(str(error))
                if held is None:
                    raise
                _outwait(where / held[1], shared(where))


def _outwait(lock: Path, common: Path) -> None:
    """Wait until a lock of Git is gone, and remove one that stays the same: it is nobody's, for we are alone.

    No clock is asked how old it is: clocks are set back.
    """
    seen = _identity(lock)
    end = time.monotonic() + STALE
    while (now := _identity(lock)) is not None and time.monotonic() < end:
        if now != seen:
            return
        time.sleep(0.05)
    if now is None or now != seen:
        return
    inside = lock.resolve().relative_to(common) if lock.resolve().is_relative_to(common) else None
    if inside is None or (inside.parts[0] != "refs" and inside.name != "packed-refs.lock"):
        remedy = f"if none is at work here: rm '{lock}'"
        raise InputError(f"{lock} is held by another Git, or was left by one that died; {remedy}")
    lock.unlink(missing_ok=True)


def _identity(file: Path) -> tuple[int, int] | None:
    try:
        found = file.stat()
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_mtime_ns


def at(where: Path, *patterns: str) -> dict[str, str]:
    """Return what refs are at, by their names.

    They are told without a look at what they point to: Git stops at the first that is not there.
    """
    told = git(where, "for-each-ref", "--format=%(refname) %(objectname)", *patterns)
    # a name may hold what Python takes for the end of a line, or for a blank
    lines = [line.rpartition(" ") for line in told.split("\n") if line]
    return {ref: its for ref, _, its in lines}


def commit_at(where: Path, ref: str) -> str | None:
    """Return the commit that a ref is at; None when there is no such ref."""
    return at(where, ref).get(ref)


def set_ref(where: Path, ref: str, new: str, old: str | None) -> bool:
    """Move a ref from `old` (None: it was not there) to `new`; return False when another has moved it."""
    try:
        change(where, "update-ref", ref, new, old or NONE)
    except InputError:
        if commit_at(where, ref) == old:
            raise
        return False
    return True


def remove_ref(where: Path, ref: str, old: str) -> None:
    """Remove a ref that is at `old`; one that is gone, or that somebody has moved, is left."""
    with changing(where):
        if commit_at(where, ref) == old:
            change(where, "update-ref", "-d", ref, old)


def mark_running(folder: Path, name: str) -> None:
    """Name by a ref what stands in the worktree of a run: what it has computed is then no garbage.

    It is an experiment to DVC: `dvc gc --all-experiments` keeps what it names, and `dvc exp list` shows it
    for as long as the run is under way.
    """
    baseline = git(folder, "rev-parse", "HEAD")
    new = names(folder, "ls-files", "--others", "--exclude-standard", "-z", "--", "dvc.lock", "*.dvc")
    words = ("commit-tree", write_tree(folder, new), "-p", baseline, "-m", f"{name} is under way")
    commit = git(folder, *words, env=identity(folder))
    change(folder, "update-ref", f"{EXPERIMENTS}/{baseline[:2]}/{baseline[2:]}/{name}{RUNNING}", commit)


def unmark_running(checkout: Path, name: str) -> None:
    """Remove the ref of a run that is over."""
    for ref, commit in marked(checkout, name).items():
        remove_ref(checkout, ref, commit)


def marked(checkout: Path, name: str = "*") -> dict[str, str]:
    """Return the refs of runs under way of that name, or of all, and what they are at."""
    return at(checkout, f"{EXPERIMENTS}/*/*/{name}{RUNNING}")
