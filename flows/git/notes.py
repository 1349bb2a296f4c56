"""Notes that runs add to commits, beside whoever else writes them."""

from pathlib import Path

from flows.git.commands import git, identity
from flows.git.refs import change, changing, commit_at, remove_ref, set_ref


def append(checkout: Path, notes: str, commit: str, text: str) -> None:
    """Append a text of any length to a commit's notes."""
    with changing(checkout):
        # whoever else writes notes, with Git itself or by fetching them, does not ask for our lock
        while not _appended(checkout, notes, commit, text):
            pass


def _appended(checkout: Path, notes: str, commit: str, text: str) -> bool:
    """Append to a copy of the notes, which takes their place unless somebody has written them meanwhile.

    Return whether it did.
    """
    place, aside = f"refs/notes/{notes}", f"refs/notes/{notes}-aside"
    before = commit_at(checkout, place)
    if left := commit_at(checkout, aside):
        remove_ref(checkout, aside, left)
    if before:
        set_ref(checkout, aside, before, None)
    words = ("notes", f"--ref={aside}", "append", "-F", "-", commit)
    change(checkout, *words, env=identity(checkout), given=text)
    after = git(checkout, "rev-parse", aside)
    moved = set_ref(checkout, place, after, before)
    remove_ref(checkout, aside, after)
    return moved
