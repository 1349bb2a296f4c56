"""Without a name, the newest run that ended is meant; what is not committed is kept first."""

import json
from pathlib import Path

import pytest

from flows.git.commands import git
from flows.ledger.experiments import experiments
from flows.registry.newest import newest_run
from tasks.shared.errors import InputError
from tests.support.project import environment
from tests.support.registry import quiet, repository

LOCK = """schema: '2.0'
stages:
  ingest:
    cmd: make
    outs:
    - {{path: data/ingested, md5: {0}.dir}}
    - {{path: data/splits, md5: {0}.dir}}
"""


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository without any run."""
    for name, value in environment(tmp_path).items():
        monkeypatch.setenv(name, value)
    return repository(tmp_path / "checkout")


def ran(checkout: Path, letter: str) -> None:
    (checkout / "dvc.lock").write_text(LOCK.format(letter * 32))
    (checkout / "metrics").mkdir(exist_ok=True)
    (checkout / "metrics/evaluate.json").write_text(json.dumps({"f1": 0.5, "interval": {"f1": [0.4, 0.6]}}))


def commit(checkout: Path, message: str, day: int) -> str:
    when = f"2026-01-{day:02}T00:00:00Z"
    git(checkout, "add", "-A")
    git(checkout, "commit", "-qm", message, env={"GIT_COMMITTER_DATE": when, "GIT_AUTHOR_DATE": when})
    return git(checkout, "rev-parse", "HEAD")


def test_what_is_not_committed_is_kept_as_an_experiment_and_the_checkout_stays_as_it_is(
    checkout: Path,
) -> None:
    ran(checkout, "a")
    (checkout / "notes.txt").write_text("mine\n")
    before, told = git(checkout, "status", "--porcelain"), list[str]()
    name, kept = newest_run(checkout, told.append)
    assert [experiment.name for experiment in experiments(checkout)] == [name]
    assert told[-1] == f"what the checkout holds is saved as experiment {name}"
    assert git(checkout, "show", f"{kept}:dvc.lock") == LOCK.format("a" * 32).strip()
    assert 'Untracked: "notes.txt"' in git(checkout, "show", "--no-patch", kept)
    assert git(checkout, "status", "--porcelain") == before
    assert newest_run(checkout, quiet) == (name, kept), "it is kept once"


def test_of_what_git_keeps_the_newest_complete_run_is_meant(checkout: Path) -> None:
    ran(checkout, "a")
    first = commit(checkout, "a run", 2)
    (checkout / "README").write_text("later\n")
    commit(checkout, "later", 3)
    assert newest_run(checkout, quiet)[1] in (first, git(checkout, "rev-parse", "HEAD"))
    ran(checkout, "b")
    name, newer = newest_run(checkout, quiet)
    git(checkout, "reset", "-q", "--hard")
    assert newest_run(checkout, quiet) == (name, newer)


def test_half_a_run_and_none_are_a_sentence_each(checkout: Path) -> None:
    with pytest.raises(InputError, match=r"no run has ended here; `retrain run` makes a model"):
        newest_run(checkout, quiet)
    ran(checkout, "a")
    (checkout / "metrics/evaluate.json").unlink()
    with pytest.raises(InputError, match=r"not of one whole run; `retrain run` completes it"):
        newest_run(checkout, quiet)
    assert experiments(checkout) == []
