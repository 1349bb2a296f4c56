"""The trials of a sweep: one whose experiment or run is gone fails, and those after it go on."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.states import Completed, Running

from flows.server import deployed_runs
from flows.server.deployed_runs import GONE, Ended
from flows.sweeps.space import Choice
from flows.sweeps.study import Study
from flows.trials import Trials
from tasks.shared.params import Params
from tasks.shared.params_file import Layer
from tests.support.project import environment
from tests.support.registry import repository

SPACE = [Choice("train.num_train_epochs", (1.0, 2.0))]


class Elsewhere:
    """Trials that are over at once; the experiment of each is nowhere to be found."""

    num = 1

    def __init__(self) -> None:
        self.begun: list[int] = []

    def start(self, number: int, given: Mapping[str, Any], bounds: Mapping[str, Any] | None) -> None:
        self.begun.append(number)

    def ended(self) -> dict[int, Ended]:
        return {self.begun[-1]: Ended(f"gone-{self.begun[-1]}", "", 1.0, "", "Completed")}


def test_a_trial_whose_experiment_was_removed_fails_and_the_sweep_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment(tmp_path).items():
        monkeypatch.setenv(name, value)
    checkout, said = repository(tmp_path / "checkout"), list[str]()
    study, runner = Study(checkout, "shades", SPACE), Elsewhere()
    study.begin({"search": [], "params": {}}, Params())
    Trials(study, runner, checkout, Layer("params", {}), 2, float("inf"), said.append, lambda: None).run()
    assert runner.begun == [0, 1]
    assert study.under_way() == []
    tried = study.result(2).tried
    assert [trial.state for trial in tried] == ["failed", "failed"]
    assert str(tried[0].why).startswith("the experiment gone-0 is not in this repository; ")
    assert said[-1] == f"trial 1 failed: {tried[1].why}"


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
