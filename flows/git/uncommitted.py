"""What is not committed in a checkout, as a Git tree that an isolated run takes along."""

import shutil
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from flows.git.commands import git, names
from tasks.shared.errors import InputError, readable
from tasks.shared.locks import alone
from tasks.shared.say import Say

# bytes of an untracked file that nobody meant to have in Git
LARGE = 50_000_000
# names in a sentence
SHOWN = 5
# DVC's, which may hold passwords: never Git's, whatever a .gitignore says
LOCAL_CONFIG = ".dvc/config.local"
# what DVC is just bringing in, or has left when it was killed
ARRIVING = f".{'?' * 22}.tmp"


@dataclass(frozen=True)
class Uncommitted:
    """What an isolated run takes along of what is not committed.

    tree: the Git tree of the checkout as it stands; None when there is nothing to take along.
    untracked: the files in it that Git does not track.
    """

    tree: str | None = None
    untracked: tuple[str, ...] = ()


def uncommitted(checkout: Path, say: Say) -> Uncommitted:
    """Keep the checkout as it stands in a Git tree, uncommitted changes and new files included.

    Ignored files and repositories inside this one are left out. Raises InputError for a new file too large
    for Git.
    """
    listed = names(checkout, "ls-files", "--others", "--exclude-standard", f"--exclude={ARRIVING}", "-z")
    nested = [name for name in listed if name.endswith("/")]
    sizes: dict[str, int] = {}
    for name in listed:
        # others may work here: it may be gone by now
        with suppress(FileNotFoundError):
            if not name.endswith("/") and name != LOCAL_CONFIG:
                sizes[name] = (checkout / name).lstat().st_size
    for name, size in sizes.items():
        if size > LARGE:
            raise InputError(
                f"{readable(name)} is not committed and has {size / 1e6:.0f} MB, too much to take along in "
                "Git; ignore it in .gitignore, or put it under DVC with `dvc add`"
            )
    if nested:
        say(f"not taking along what is a Git repository of its own: {_some(nested)}")
    tree = write_tree(checkout, [*sizes])
    changed = names(checkout, "diff", "--name-only", "-z", "HEAD", tree)
    if not changed:
        return Uncommitted()
    say(f"taking along {len(changed)} uncommitted changes: {_some(changed)}")
    return Uncommitted(tree, tuple(sizes))


def write_tree(checkout: Path, untracked: Sequence[str]) -> str:
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
            # of what is gone by now, Git would say that --remove is missing
            words = ("update-index", "--add", "--remove", "-z", "--stdin")
            git(checkout, *words, env=env, given="\0".join([*untracked, ""]))
            return git(checkout, "write-tree", env=env)
        finally:
            index.unlink(missing_ok=True)


def _some(files: Sequence[str]) -> str:
    return ", ".join(map(readable, files[:SHOWN])) + (" ..." if len(files) > SHOWN else "")
