"""What runs ask of Git, and what an isolated run takes along into its worktree: what is uncommitted, links to what Git does not bring."""

import os
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tasks.shared.errors import DiskError, InputError, disk_trouble, readable
from tasks.shared.locks import alone

LARGE = 50_000_000  # bytes of an untracked file that nobody meant to have in Git
SHOWN = 5  # names in a sentence
LOCAL_CONFIG = ".dvc/config.local"  # DVC's, which may hold passwords: never Git's, whatever a .gitignore says
OURS = "retrain <retrain@localhost>"  # who commits where Git knows no one
# What a user has set to run at each command of Git may be a path in the checkout, and in a worktree of a commit that
# was fetched that is the commit's own. Git runs no filter but those of the user's configuration: they stay, as LFS is one.
OFF = (
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "submodule.recurse=false",
    "push.recurseSubmodules=no",
    "protocol.ext.allow=never",
    "log.showSignature=false",
)
HOOKED = ("push",)  # sends what is there from the checkout itself, as its user would: git-lfs sends its files in a hook


def git(where: Path, *words: str, env: Mapping[str, str] | None = None, given: str | None = None) -> str:
    """Run Git in a folder, `given` on its input, and return what it printed. Nothing that was fetched is executed.

    Raises InputError, with Git's own words, when it fails.
    """
    return _run(where, words, env, given).strip()


def names(where: Path, *words: str) -> list[str]:
    """Run a command of Git that lists files with `-z`; return their names, whatever bytes are in them."""
    return [name for name in _run(where, words).split("\0") if name]


def _run(where: Path, words: Sequence[str], env: Mapping[str, str] | None = None, given: str | None = None) -> str:
    program = shutil.which("git")
    if program is None:
        raise InputError("git is not installed; install it, retrain keeps its experiments there")
    settings = [word for setting in (OFF[1:] if words[0] in HOOKED else OFF) for word in ("-c", setting)]
    done = subprocess.run(  # noqa: S603 (Git alone, no shell)
        [program, *settings, *words],
        cwd=where,
        env={**os.environ, **(env or {})},
        input=given,
        capture_output=True,
        encoding="utf-8",
        errors="surrogateescape",
        check=False,
    )
    if done.returncode:
        if full := disk_trouble(ChildProcessError(done.stderr)):
            raise DiskError(full)
        raise InputError(readable(f"git {' '.join(words[:2])}: {' '.join(done.stderr.split())}"))
    return done.stdout


def refuse_without_git(checkout: Path) -> None:
    """Raise InputError when Git has no checkout here, or does not trust its owner."""
    try:
        is_bare = git(checkout, "rev-parse", "--is-bare-repository") == "true"
    except InputError:
        if any((folder / ".git").exists() for folder in (checkout, *checkout.parents)):
            raise
        raise InputError(
            f"{checkout} is in no Git repository, where runs keep their records; make one with `git init && git add . && git commit -m start`"
        ) from None
    if is_bare:
        raise InputError(f"the Git repository of {checkout} is bare; if this is a checkout: git config core.bare false")
    refuse_planted(checkout)


def refuse_planted(checkout: Path) -> None:
    """Raise InputError when a commit has brought files to where DVC and retrain keep what is this machine's own.

    DVC unpickles what it finds in its databases there.
    """
    for place in (".dvc/tmp", ".dvc/cache", ".retrain"):
        if planted := names(checkout, "ls-files", "-z", "--", place):
            raise InputError(
                f"Git tracks {readable(planted[0])}, where what is this machine's own is kept and read without a doubt; "
                f"find out who committed it (`git log -- {place}`), then `git rm -r --force {place}`"
            )


def ready(checkout: Path, say: Callable[[str], None]) -> None:
    """Raise InputError, before anything is computed, when no worktree can be made here.

    Says so when Git does not know its user.
    """
    refuse_without_git(checkout)
    try:
        git(checkout, "rev-parse", "--verify", "HEAD^{commit}")
    except InputError:
        raise InputError(
            f"the Git repository of {checkout} has no commit yet, and an isolated run starts from one; "
            "make it with `git add . && git commit -m start`"
        ) from None
    if identity(checkout):
        say(f"Git knows no user.name and user.email here, so what this run keeps in Git is by {OURS}")


def identity(checkout: Path) -> dict[str, str]:
    """Return the environment with which Git can commit: empty where it knows its user.

    Else it holds an identity of our own, for our own refs.
    """
    env: dict[str, str] = {}
    for who in ("AUTHOR", "COMMITTER"):
        try:
            git(checkout, "var", f"GIT_{who}_IDENT")
        except InputError:
            env |= {f"GIT_{who}_NAME": "retrain", f"GIT_{who}_EMAIL": "retrain@localhost"}
    return env


def commit_of(checkout: Path, revision: str) -> str:
    """Return the commit that a branch, tag or other revision names; raise InputError when there is none."""
    try:
        return git(checkout, "rev-parse", "--verify", "--end-of-options", f"{revision}^{{commit}}")
    except InputError:
        raise InputError(
            f"there is no commit, branch, tag or experiment '{revision}'; `dvc exp list -A` and `git log --all` list what there is"
        ) from None


def link(path: str, folder: Path, checkout: Path) -> None:
    """Have a worktree see what Git does not bring along: a base model, or data that nothing versions.

    That is what is ignored in the checkout, and what is a Git repository of its own there.
    """
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


@dataclass(frozen=True)
class Taken:
    """What an isolated run takes along of what is not committed.

    tree: the Git tree of the checkout as it stands; None when there is nothing to take along.
    untracked: the files in it that Git does not track.
    """

    tree: str | None = None
    untracked: tuple[str, ...] = ()


def taken_along(checkout: Path, say: Callable[[str], None]) -> Taken:
    """Keep the checkout as it stands in a Git tree, uncommitted changes and new files included.

    Ignored files and repositories inside this one are left out. Raises InputError for a new file too large for Git.
    """
    listed = names(checkout, "ls-files", "--others", "--exclude-standard", "-z")
    nested = [name for name in listed if name.endswith("/")]
    untracked = [name for name in listed if name not in nested and name != LOCAL_CONFIG]
    for name in untracked:
        if (size := (checkout / name).lstat().st_size) > LARGE:
            raise InputError(
                f"{readable(name)} is not committed and has {size / 1e6:.0f} MB, too much to take along in Git; "
                "ignore it in .gitignore, or put it under DVC with `dvc add`"
            )
    if nested:
        say(f"not taking along what is a Git repository of its own: {_some(nested)}")
    tree = tree_of(checkout, untracked)
    changed = names(checkout, "diff", "--name-only", "-z", "HEAD", tree)
    if not changed:
        return Taken()
    say(f"taking along {len(changed)} uncommitted changes: {_some(changed)}")
    return Taken(tree, tuple(untracked))


def tree_of(checkout: Path, untracked: Sequence[str]) -> str:
    """Write the checkout as it stands to a Git tree, with a copy of its index, which stays as it is."""
    index = checkout / ".retrain" / "index"
    env = {"GIT_INDEX_FILE": str(index)}
    # alone, so that what a kill has left of it is known to be nobody's
    with alone(index.with_name("index.alone")):
        index.with_name("index.lock").unlink(missing_ok=True)
        try:
            # the checkout's own index knows what has been added by force, or only by name
            shutil.copyfile(checkout / git(checkout, "rev-parse", "--git-path", "index"), index)
            git(checkout, "add", "--update", env=env)
            git(checkout, "update-index", "--add", "-z", "--stdin", env=env, given="\0".join([*untracked, ""]))
            return git(checkout, "write-tree", env=env)
        finally:
            index.unlink(missing_ok=True)


def _some(files: Sequence[str]) -> str:
    return ", ".join(map(readable, files[:SHOWN])) + (" ..." if len(files) > SHOWN else "")
