"""A Git worktree for each isolated run: made at a commit together with what is uncommitted, removed in the end or by a later run."""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from flows.locks import alone, is_free
from tasks.errors import InputError

LARGE = 50_000_000  # bytes of an untracked file that nobody meant to have in Git


def git(where: Path, *words: str, env: Mapping[str, str] | None = None) -> str:
    """Run Git in a folder and return what it printed; raise InputError with Git's own words when it fails."""
    program = shutil.which("git")
    if program is None:
        raise InputError("git is not installed; install it, retrain keeps its experiments there")
    done = subprocess.run([program, *words], cwd=where, env={**os.environ, **(env or {})}, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        raise InputError(f"git {' '.join(words[:2])}: {' '.join(done.stderr.split())}")
    return done.stdout.strip()


def common_folder(checkout: Path) -> Path:
    """Return the .git folder that all worktrees of the repository share."""
    return Path(git(checkout, "rev-parse", "--path-format=absolute", "--git-common-dir"))


def commit_of(checkout: Path, revision: str) -> str:
    """Return the commit that a branch, tag or other revision names; raise InputError when there is none."""
    try:
        return git(checkout, "rev-parse", "--verify", "--end-of-options", f"{revision}^{{commit}}")
    except InputError:
        raise InputError(f"there is no commit, branch, tag or experiment '{revision}'; `dvc exp show` and `git log` list what there is") from None


@contextmanager
def worktree(checkout: Path, name: str, commit: str, tree: str | None = None) -> Iterator[Path]:
    """Yield a new folder with `commit` checked out, and over it the files of `tree`; it is removed when the context ends.

    It lies in the checkout's own ignored folder, on the same disk as the DVC cache.
    """
    folder = checkout / ".retrain" / "worktrees" / name
    with alone(folder.with_name(f"{name}.lock")):
        if folder.exists():
            _remove(checkout, folder)
        git(checkout, "worktree", "add", "--detach", "--no-checkout", str(folder), commit)
        try:
            git(folder, "read-tree", "--reset", "-u", tree or commit)
            yield folder
        finally:
            _remove(checkout, folder)


def link(path: str, folder: Path, checkout: Path) -> None:
    """Have a worktree see what Git ignores in the checkout: a base model, whose content model.revision names, or data that nothing versions."""
    here, there = folder / path, checkout / path
    if there.exists() and not here.exists():
        here.parent.mkdir(parents=True, exist_ok=True)
        here.symlink_to(there)


def remove_dead(checkout: Path, say: Callable[[str], None]) -> None:
    """Remove the worktrees of runs that died: those whose lock nobody holds."""
    folder = checkout / ".retrain" / "worktrees"
    for lock in sorted(folder.glob("*.lock")):
        left = lock.with_suffix("")
        if is_free(lock):
            if left.exists():
                _remove(checkout, left)
                say(f"removed {left.relative_to(checkout)}, which a run that died had left")
            lock.unlink(missing_ok=True)
            lock.with_name(f"{lock.name}.pid").unlink(missing_ok=True)


def taken_along(checkout: Path, say: Callable[[str], None]) -> str | None:
    """Return a Git tree of the checkout as it stands, uncommitted changes and new files included; None when there are none.

    Ignored files are left out. Raises InputError for an untracked file too large for Git.
    """
    for name in filter(None, git(checkout, "ls-files", "--others", "--exclude-standard", "-z").split("\0")):
        if (size := (checkout / name).lstat().st_size) > LARGE:
            raise InputError(
                f"{name} is not committed and has {size / 1e6:.0f} MB, too much to take along in Git; "
                "ignore it in .gitignore, or put it under DVC with `dvc add`"
            )
    index = checkout / ".retrain" / f"index-{os.getpid()}"
    index.parent.mkdir(exist_ok=True)
    env = {"GIT_INDEX_FILE": str(index)}
    try:
        git(checkout, "read-tree", "HEAD", env=env)
        git(checkout, "add", "--all", env=env)
        tree = git(checkout, "write-tree", env=env)
    finally:
        index.unlink(missing_ok=True)
    names = git(checkout, "diff", "--name-only", "HEAD", tree).splitlines()
    if not names:
        return None
    say(f"taking along {len(names)} uncommitted changes: {', '.join(names[:5])}{' ...' if len(names) > 5 else ''}")  # noqa: PLR2004
    return tree


def _remove(checkout: Path, folder: Path) -> None:
    shutil.rmtree(folder)
    git(checkout, "worktree", "prune")
