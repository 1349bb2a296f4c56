"""Experiments as Git keeps them: with all that they took along, found by names that mean one, sent whoever sends beside."""

from pathlib import Path

import pytest

from flows.git.commands import git
from flows.git.worktrees import worktree
from flows.ledger.experiments import save, untracked_in
from tests.support.project import environment


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A Git repository with one commit."""
    for name, value in environment(tmp_path).items():
        monkeypatch.setenv(name, value)
    folder = tmp_path / "checkout"
    folder.mkdir()
    (folder / ".gitignore").write_text(".retrain/\n")
    (folder / "dvc.lock").write_text("stages: {}\n")
    for words in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "start"]):
        git(folder, *words)
    return folder


def test_any_number_of_files_is_taken_along_and_known(checkout: Path) -> None:
    # more than all arguments of a command may have in bytes
    many = [f"data/{number:06}-{'long' * 40}.jpg" for number in range(20_000)]
    with worktree(checkout, "run", "HEAD") as folder:
        (folder / "dvc.lock").write_text("stages: {ingest: 1}\n")
        saved = save(folder, "run", "a run", untracked=[*many, "dvc.lock"])
    assert untracked_in(checkout, saved.commit) == many
    assert git(checkout, "show", "--no-patch", "--format=%s", saved.commit) == "a run"
