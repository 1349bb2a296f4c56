"""The trials of a sweep: one whose experiment or run is gone fails, and those after it go on."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.states import Completed, Running

from flows.git.commands import git
from flows.git.remotes import UnreachableError
from flows.server import deployed_runs
from flows.server.deployed_runs import GONE, Ended
from flows.sweeps.space import Choice
from flows.sweeps.study import Study
from flows.trials import SAME, Trials
from tasks.shared.errors import InputError
from tasks.shared.params import Params
from tasks.shared.params_file import Layer
from tests.support.project import environment
from tests.support.registry import remote_of, repository, shared
from tests.support.trials import kept
from tests.support.wait import instead_of_waiting

SPACE = [Choice("train.num_train_epochs", (1.0, 2.0))]
MANY = [Choice("train.num_train_epochs", tuple(map(float, range(1, 8))))]


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, value in environment(tmp_path).items():
        monkeypatch.setenv(name, value)
    return repository(tmp_path / "checkout")


class Elsewhere:
    """Trials that are over at once; unless `on_end` sends it, the experiment of each is nowhere to be found."""

    num = 1

    def __init__(self, on_end: Callable[[int], None] = lambda number: None) -> None:
        self.begun: list[int] = []
        self.on_end = on_end

    def start(self, number: int, given: Mapping[str, Any], bounds: Mapping[str, Any] | None) -> None:
        self.begun.append(number)

    def ended(self) -> dict[int, Ended]:
        self.on_end(self.begun[-1])
        return {self.begun[-1]: Ended(f"gone-{self.begun[-1]}", "", 1.0, "", "Completed")}


def trials(checkout: Path, runner: Elsewhere, space: Sequence[Choice], say: Callable[[str], None]) -> Trials:
    """Return all different trials of a space, to be run."""
    study = Study(checkout, "shades", space)
    return Trials(
        study=study,
        runner=runner,
        checkout=checkout,
        fixed=Layer("params", {}),
        budget=study.begin({"search": [], "params": {}}, Params(), 100),
        until=float("inf"),
        say=say,
        on_end=lambda: None,
    )


def test_a_trial_whose_experiment_was_removed_fails_and_the_sweep_goes_on(checkout: Path) -> None:
    said, runner = list[str](), Elsewhere()
    its = trials(checkout, runner, SPACE, said.append)
    its.run()
    study = its.study
    assert runner.begun == [0, 1]
    assert study.under_way() == []
    tried = study.result(2).tried
    assert [trial.state for trial in tried] == ["failed", "failed"]
    assert str(tried[0].why).startswith("the experiment gone-0 is not in this repository; ")
    assert said[-1] == f"trial 1 failed: {tried[1].why}"


def test_trials_that_fail_for_the_same_reason_end_the_sweep_whatever_their_names(checkout: Path) -> None:
    runner = Elsewhere()
    its = trials(checkout, runner, MANY, lambda _: None)
    with pytest.raises(InputError, match=r"^5 trials in a row have failed: the experiment NAME is not in "):
        its.run()
    assert runner.begun == [*range(SAME)]
    why = "in shades-1-0a1b2c3d: shades-10 and xshades-1 are others"
    ended = Ended(None, why, 1.0, "6f1e", "Failed")
    assert its._reason(1, ended, why) == "in NAME: shades-10 and xshades-1 are others"


@pytest.mark.slow
def test_a_finished_trial_waits_for_its_experiment_to_be_sent_and_for_a_remote_that_does_not_answer(
    checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = shared(repository(tmp_path / "elsewhere"), tmp_path / "origin.git")
    remote = remote_of(shared(checkout, tmp_path / "origin.git"))
    rates = (2e-4, 1e-4, 3e-4)

    def end(number: int) -> None:
        """Keep what the trial has made; of the first it is sent with the second, and then the remote is gone."""
        kept(elsewhere, f"gone-{number}", {"macro_f1": number / 10}, rate=rates[number])
        if number == 1:
            git(elsewhere, "push", "-q", "origin", "refs/exps/*:refs/exps/*")
        if number == 2:
            remote.rename(tmp_path / "gone.git")

    instead_of_waiting(monkeypatch, lambda _: None)
    said, space = list[str](), [Choice("train.learning_rate", rates)]
    with pytest.raises(UnreachableError):
        trials(checkout, Elsewhere(end), space, said.append).run()
    assert any(line.startswith("trial 0 is looked for again when another is over: ") for line in said)
    its = trials(checkout, Elsewhere(), space, said.append)
    assert [trial.state for trial in its.study.result(3).tried] == ["done", "done", "running"]
    (tmp_path / "gone.git").rename(remote)
    git(elsewhere, "push", "-q", "origin", "refs/exps/*:refs/exps/*")
    its.run()
    assert [trial.score for trial in its.study.result(3).tried] == [0.0, 0.1, 0.2]


def test_a_run_that_somebody_has_deleted_is_over(server: str) -> None:
    @flow
    def trial() -> None:
        """Do nothing."""

    with temporary_settings({PREFECT_API_URL: server}), get_client(sync_client=True) as client:
        states = {"here": Running(), "done": Completed(), "gone": Running()}
        ids = {name: str(client.create_flow_run(trial, state=state).id) for name, state in states.items()}
        client.delete_flow_run(UUID(ids["gone"]))
        found = deployed_runs.ended(ids.values())
    assert found.keys() == {ids["done"], ids["gone"]}
    assert (found[ids["gone"]].kept, found[ids["gone"]].why) == (None, GONE)
