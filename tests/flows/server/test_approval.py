"""A run that asks before it promotes: it waits without a slot until somebody answers, and the answer stands in the tag."""

import json

import pytest

from tests.support.colors import LEARNS, rows
from tests.support.project import Project
from tests.support.site import Site, up

PARAMS = {
    "data": {"path": "data/raw/colors.csv"},
    "promote": {"name": "colors", "when": "ask", "max_calibration_rise": 1.0},
    "train": {"learning_rate": 0.003, "num_train_epochs": 4, "per_device_train_batch_size": 16},
}


def answer(site: Site, run: str, **said: str) -> dict[str, str]:
    """Answer a run that waits, as the form in the UI does, and return how it ended."""
    site.wait(run, "Suspended")
    assert site.request(f"flow_runs/{run}/resume", {"run_input": said})["status"] == "ACCEPT"
    return site.wait(run)


def models(project: Project) -> dict[str, dict[str, object]]:
    told = json.loads(project.retrain("--json", command="models").stdout)
    return {version["version"]: version for version in told}


@pytest.mark.slow
def test_what_is_proven_waits_for_an_answer_that_is_signed_and_kept(project: Project) -> None:
    rows(project, "red", "blue")
    first = project.retrain("--isolated", "--data.path", "data/raw/colors.csv", *LEARNS).stdout
    name = first.partition("It is the experiment ")[2].partition(";")[0]
    forced = ("--name", "colors", "--force", "--reason", "there is no other")
    project.retrain(name, *forced, command="promote")

    rows(project, "red", "blue", "green")
    with up(project) as site:
        run = site.complete("retrain/manual", params=PARAMS)
        message = site.state(run)["message"]
        assert message.startswith("Better than the champion"), message
        assert "It waits for somebody to approve it" in message
        (asked,) = site.runs("promote")
        refused = answer(site, asked["id"], answer="refuse", name="Ann", reason="green is not for sale yet")
        assert refused["name"] == "Refused"
        assert "colors" in site.artifacts(asked["id"])["verdict"]["data"]
        version = models(project)["v0.0.2"]
        assert (version["verdict"], version["stages"]) == ("refused", [])
        assert (version["by"], version["reason"]) == ("Ann in the Prefect UI", "green is not for sale yet")

        again = site.complete("retrain/manual", params=PARAMS)
        assert "was refused by Ann in the Prefect UI" in site.state(again)["message"]
        assert len(site.runs("promote")) == 1, "nobody is asked twice for the same model"

        asked = site.run("promote/promote", run=asked["parameters"]["run"], ask=True)
        approved = answer(site, asked, answer="approve", name="Bea", reason="it is for sale now")
        assert approved["name"] == "Completed", site.logs(asked)
        assert "colors@v0.0.2 has prod" in approved["message"]
    found = models(project)["v0.0.2"]
    assert found["stages"] == ["prod"]
    (assignment,) = found["assignments"]  # type: ignore[misc]
    assert (assignment["by"], assignment["reason"]) == ("Bea in the Prefect UI", "it is for sale now")
