"""A worktree for each isolated run: made, linked to what Git does not bring along, removed."""

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from flows.git.commands import git
from flows.git.refs import RUNNING, change, changing, marked, remove_ref, shared, unmark_running
from tasks.shared.locks import alone, alone_if_free, forget
from tasks.shared.say import Say


@contextmanager
def worktree(checkout: Path, name: str, commit: str, tree: str | None = None) -> Iterator[Path]:
    """Yield a new folder with `commit` checked out, and over it the files of `tree`; remove it afterwards.

    It lies in the checkout's own ignored folder, on the same disk as the DVC cache.
    """
    folder = checkout / ".retrain" / "worktrees" / name
    with alone(folder.with_name(f"{name}.lock")):
        try:
            with changing(checkout):
                remove_worktree(checkout, folder)
                change(checkout, "worktree", "add", "--detach", "--no-checkout", str(folder), commit)
            git(folder, "read-tree", "--reset", "-u", tree or commit)
            yield folder
        finally:
            remove_worktree(checkout, folder)
            unmark_running(checkout, name)


def link(path: str | None, folder: Path, checkout: Path) -> None:
    """Have a worktree see what Git does not bring along: a base model, or data that nothing versions.

    That is what is ignored in the checkout, and what is a Git repository of its own there.
    """
    if path is None:
        return
    here, there = folder / path, checkout / path
    if here != there and there.exists() and _is_empty(here):
        if here.exists():
            here.rmdir()
        here.parent.mkdir(parents=True, exist_ok=True)
        here.symlink_to(there)


def is_link(path: str, folder: Path, checkout: Path) -> bool:
    """Return whether `link` has made this path."""
    return (folder / path).is_symlink() and (folder / path).readlink() == checkout / path


def _is_empty(path: Path) -> bool:
    return not path.exists() or (path.is_dir() and not path.is_symlink() and not any(path.iterdir()))


def remove_worktree(checkout: Path, folder: Path) -> None:
    """Remove the worktree of a run, and all that Git knows of it, also one half made or half removed.

    Not by `git worktree prune`: a user's own, on a disk that is not mounted now, would go too.
    """
    if folder.exists():
        shutil.rmtree(folder)
    with changing(checkout):
        for known in (shared(checkout) / "worktrees").glob("*"):
            if _is_of(known, folder):
                shutil.rmtree(known)


def _is_of(known: Path, folder: Path) -> bool:
    """Return whether what Git keeps of a worktree is of the one in this folder."""
    where = known / "gitdir"
    text = where.read_text("utf-8", "surrogateescape").rstrip("\n") if where.exists() else ""
    if text:
        return (known / text).resolve().parent == folder.resolve()
    # Git was killed before it had noted where; it numbers those of one name
    return re.fullmatch(rf"{re.escape(folder.name)}\d*", known.name) is not None


def remove_dead(checkout: Path, say: Say) -> None:
    """Remove the worktrees of runs that died: those whose lock nobody holds."""
    folder = checkout / ".retrain" / "worktrees"
    for lock in sorted(folder.glob("*.lock")):
        left = lock.with_suffix("")
        # held until all is done: the same run may be starting again
        with alone_if_free(lock) as is_dead:
            if not is_dead:
                continue
            if left.exists():
                remove_worktree(checkout, left)
                say(f"removed {left.relative_to(checkout)}, which a run that died had left")
            unmark_running(checkout, left.name)
            forget(lock)
    # a run has its lock before it has a ref
    for ref, commit in marked(checkout).items():
        name = ref.rpartition("/")[2].removesuffix(RUNNING)
        if not (folder / f"{name}.lock").exists():
            remove_ref(checkout, ref, commit)
