"""Notes on commits: whatever is said of one is kept beside what was said before."""

from pathlib import Path

import pytest

from flows.git.commands import git
from flows.git.notes import append
from tests.support.project import environment

# bytes that Linux takes as one argument of a command
LONGEST = 128 * 1024


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A Git repository with one commit."""
    for name, value in environment(tmp_path).items():
        monkeypatch.setenv(name, value)
    git(tmp_path, "init", "-q")
    git(tmp_path, "commit", "-q", "--allow-empty", "-m", "start")
    return tmp_path


def test_a_note_of_any_length_is_appended(checkout: Path) -> None:
    long = "many words " * LONGEST
    for text in ("one\n", long, "another"):
        append(checkout, "retrain", "HEAD", text)
    told = git(checkout, "notes", "--ref=retrain", "show", "HEAD")
    assert told == f"one\n\n{long.strip()}\n\nanother"
    assert git(checkout, "for-each-ref", "--format=%(refname)", "refs/notes") == "refs/notes/retrain"
