"""What a trial has scored on validation, read from the commit that keeps it, also one that another machine has sent."""

from pathlib import Path

import pytest

from flows.git.commands import git
from flows.git.remotes import UnreachableError
from flows.ledger.remote import TRIES
from flows.sweeps.scores import NotSentError, scored
from tasks.shared.errors import InputError
from tests.support.project import environment
from tests.support.registry import remote_of, repository, shared
from tests.support.trials import ROWS, kept
from tests.support.wait import instead_of_waiting

RATE = {"train.learning_rate": 1e-4}


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, value in environment(tmp_path).items():
        monkeypatch.setenv(name, value)
    return repository(tmp_path / "checkout")


def test_the_headline_on_validation_is_the_score_and_the_loss_where_there_is_none(checkout: Path) -> None:
    kept(checkout, "first", {"loss": 0.7, "macro_f1": 0.8})
    kept(checkout, "loss", {"loss": 0.7})
    kept(checkout, "undefined", {"loss": 0.7, "macro_f1": None})
    first = scored(checkout, "first", RATE)
    assert (first.metric, first.score, first.higher_is_better) == ("macro_f1", 0.8, True)
    loss = scored(checkout, "loss", RATE)
    assert (loss.metric, loss.score, loss.higher_is_better) == ("loss", 0.7, False)
    assert scored(checkout, "undefined", RATE).score is None


def test_trials_have_all_in_common_but_what_is_searched(checkout: Path) -> None:
    kept(checkout, "first", {"macro_f1": 0.8})
    kept(checkout, "other", {"macro_f1": 0.9}, rate=3e-4)
    kept(checkout, "steps", {"macro_f1": 0.9}, steps=7)
    kept(checkout, "rows", {"macro_f1": 0.9}, rows=f"6{ROWS[1:]}")
    held = {name: scored(checkout, name, RATE).held for name in ("first", "steps", "rows")}
    held["other"] = scored(checkout, "other", {"train.learning_rate": 3e-4}).held
    assert held["first"] == held["other"]
    assert held["first"] != held["steps"]
    assert held["first"] != held["rows"]


def test_an_experiment_that_another_machine_has_sent_is_fetched(checkout: Path, tmp_path: Path) -> None:
    elsewhere = shared(repository(tmp_path / "elsewhere"), tmp_path / "origin.git")
    kept(elsewhere, "sent", {"macro_f1": 0.8})
    git(elsewhere, "push", "-q", "origin", "refs/exps/*:refs/exps/*")
    with pytest.raises(InputError, match=r"^the experiment sent is not in this repository; "):
        scored(checkout, "sent", {})
    shared(checkout, tmp_path / "origin.git")
    assert scored(checkout, "sent", {}).score == 0.8
    with pytest.raises(NotSentError, match=r"^the experiment another is not in this repository; "):
        scored(checkout, "another", {})


def test_an_experiment_of_the_trials_name_that_tried_something_else_is_not_taken_for_it(
    checkout: Path, tmp_path: Path
) -> None:
    theirs = shared(repository(tmp_path / "theirs"), tmp_path / "origin.git")
    kept(theirs, "sweep-0", {"macro_f1": 0.9}, rate=3e-4)
    git(theirs, "push", "-q", "origin", "refs/exps/*:refs/exps/*")
    shared(checkout, tmp_path / "origin.git")
    with pytest.raises(NotSentError, match=r"^the experiment sweep-0 is not in this repository; "):
        scored(checkout, "sweep-0", RATE)
    assert scored(checkout, "sweep-0", {"train.learning_rate": 3e-4}).score == 0.9
    # where its name was taken, it was sent under another
    worker = shared(repository(tmp_path / "worker"), tmp_path / "origin.git")
    kept(worker, "sweep-0", {"macro_f1": 0.8}, rate=1e-4)
    commit = git(worker, "for-each-ref", "--format=%(objectname)", "refs/exps")
    baseline = git(worker, "rev-parse", "HEAD")
    ref = f"refs/exps/{baseline[:2]}/{baseline[2:]}/sweep-0-{commit[:7]}"
    git(worker, "push", "-q", "origin", f"{commit}:{ref}")
    found = scored(checkout, "sweep-0", RATE)
    assert (found.score, found.commit) == (0.8, commit)


def test_a_remote_that_does_not_answer_is_asked_again_and_says_nothing_of_what_it_has(
    checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = shared(repository(tmp_path / "elsewhere"), tmp_path / "origin.git")
    kept(elsewhere, "sent", {"macro_f1": 0.8})
    git(elsewhere, "push", "-q", "origin", "refs/exps/*:refs/exps/*")
    remote = remote_of(shared(checkout, tmp_path / "origin.git"))
    gone = remote.rename(tmp_path / "gone.git")
    waited: list[float] = []
    instead_of_waiting(monkeypatch, waited.append)
    with pytest.raises(UnreachableError, match=r"^Git remote 'origin' cannot be asked: "):
        scored(checkout, "sent", {})
    assert waited == [2**attempt for attempt in range(TRIES - 1)]
    # it is back when it is asked for the second time
    instead_of_waiting(monkeypatch, lambda _: gone.rename(remote))
    assert scored(checkout, "sent", {}).score == 0.8
