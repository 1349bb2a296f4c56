"""Experiments as Git keeps them: with all that they took along, found by names that mean one, sent whoever sends beside."""

from pathlib import Path

import pytest

from flows.git.commands import git
from flows.git.worktrees import worktree
from flows.ledger.experiments import commit_named, save, untracked_in
from tasks.shared.errors import InputError
from tests.support.repository import one_commit


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A Git repository with one commit."""
    return one_commit(tmp_path, monkeypatch)


def test_any_number_of_files_is_taken_along_and_known(checkout: Path) -> None:
    # more than all arguments of a command may have in bytes
    many = [f"data/{number:06}-{'long' * 40}.jpg" for number in range(20_000)]
    with worktree(checkout, "run", "HEAD") as folder:
        (folder / "dvc.lock").write_text("stages: {ingest: 1}\n")
        saved = save(folder, "run", "a run", untracked=[*many, "dvc.lock"])
    assert untracked_in(checkout, saved.commit) == many
    assert git(checkout, "show", "--no-patch", "--format=%s", saved.commit) == "a run"


def test_a_name_that_two_experiments_have_names_neither(checkout: Path) -> None:
    commits: list[str] = []
    for number in (1, 2):
        with worktree(checkout, "run", "HEAD") as folder:
            (folder / "dvc.lock").write_text(f"stages: {{ingest: {number}}}\n")
            saved = save(folder, f"run-{number}", "a run")
        ours = f"refs/exps/{saved.baseline[:2]}/{saved.baseline[2:]}"
        git(checkout, "update-ref", "-d", f"{ours}/{saved.name}")
        # as when somebody has fetched what others have sent
        git(checkout, "update-ref", f"{ours}/theirs", saved.commit)
        commits.append(saved.commit[:10])
        git(checkout, "commit", "-q", "--allow-empty", "-m", "another baseline")
    with pytest.raises(
        InputError, match="2 experiments are called 'theirs'; give the commit of one: "
    ) as told:
        commit_named(checkout, "theirs")
    assert all(commit in str(told.value) for commit in commits)
    assert commit_named(checkout, commits[0]).startswith(commits[0])
