"""What runs do to the Git repository that they share."""

from pathlib import Path

from flows.git.commands import git
from flows.git.worktrees import worktree
from flows.ledger.experiments import save
from flows.report.certificate import Certificate


def a_run(checkout: Path, number: int) -> None:
    """Do what an isolated run and a reproduction do to the repository, under a name that others have too."""
    with worktree(checkout, f"run-{number}", "HEAD") as folder:
        (folder / "dvc.lock").write_text(f"stages: {{ingest: {number}}}\n")
        save(folder, "run", "a run")
    Certificate(f"run-{number}", git(checkout, "rev-parse", "HEAD")).keep(checkout)
