"""What runs do to the Git repository that they share."""

from pathlib import Path

import pytest

from flows.git.commands import git
from flows.git.worktrees import worktree
from flows.ledger.experiments import save
from flows.report.certificate import Certificate
from tests.support.project import environment


def one_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ignored: str = ".retrain/\n") -> Path:
    """Return a Git repository with one commit; what Git knows of its user is what the tests say."""
    for name, value in environment(tmp_path).items():
        monkeypatch.setenv(name, value)
    folder = tmp_path / "checkout"
    folder.mkdir()
    (folder / ".gitignore").write_text(ignored)
    (folder / "dvc.lock").write_text("stages: {}\n")
    for words in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "start"]):
        git(folder, *words)
    return folder


def a_run(checkout: Path, number: int) -> None:
    """Do what an isolated run and a reproduction do to the repository, under a name that others have too."""
    with worktree(checkout, f"run-{number}", "HEAD") as folder:
        (folder / "dvc.lock").write_text(f"stages: {{ingest: {number}}}\n")
        save(folder, "run", "a run")
    Certificate(f"run-{number}", git(checkout, "rev-parse", "HEAD")).keep(checkout)
