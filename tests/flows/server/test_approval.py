"""A run that asks before it promotes: it waits without a slot until somebody answers, and the answer stands in the tag.

In a real browser, too; and people are told of what was decided.
"""

import json
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.support.browser import chromium, keep, log_in, needs_chromium, see_pictures, submit
from tests.support.colors import LEARNS, rows
from tests.support.forking import forking
from tests.support.project import Once, Project, copy_of, tiny, tiny_project
from tests.support.site import Site, up
from tests.support.wait import until
from tests.support.webhook import make_channel, webhook

pytestmark = pytest.mark.slow
PARAMS: dict[str, Any] = {
    "data": {"path": "data/raw/colors.csv"},
    "promote": {"name": "colors", "when": "ask", "max_calibration_rise": 1.0, "max_latency_ratio": 100},
    "train": {"learning_rate": 0.003, "num_train_epochs": 10, "per_device_train_batch_size": 16},
}


@pytest.fixture
def project(once: Once, tiny_model: Path, prefect_home: Path, python: Path, tmp_path: Path) -> Project:
    """A clone with a first model in production, and data that a better one can be made of."""

    def make(folder: Path) -> None:
        made = forking(tiny_project(folder / "project", tiny_model, prefect_home), python)
        rows(made, "red", "blue")
        first = made.retrain("--isolated", "--data.path", "data/raw/colors.csv", *LEARNS).stdout
        name = first.partition("It is the experiment ")[2].partition(";")[0]
        forced = ("--name", "colors", "--force", "--reason", "there is no other")
        made.retrain(name, *forced, command="promote")
        rows(made, "red", "blue", "green")

    made = tiny(once("with_a_champion", make) / "project")
    return forking(copy_of(made, tmp_path), python)


def answer(site: Site, run: str, **said: str) -> dict[str, str]:
    """Answer a run that waits, as the form in the UI does, and return how it ended."""
    site.wait(run, "Suspended")
    # the form comes a moment after the state; without it an answer is refused
    until(lambda: site.request(f"flow_runs/{run}/resume", {"run_input": said})["status"] == "ACCEPT")
    return site.wait(run)


def models(project: Project) -> dict[str, dict[str, Any]]:
    told = json.loads(project.retrain("--json", command="models").stdout)
    return {version["version"]: version for version in told}


def heard(taken: list[dict[str, Any]], subject: str) -> str:
    """Wait until somebody has been told, and return what."""
    found = until(lambda: [message for message in taken if message["subject"] == f"retrain: {subject}"])
    return str(found[-1]["body"])


def waiting(project: Project) -> list[dict[str, Any]]:
    """Return the runs that wait for somebody; none while the server is too busy to tell in time."""
    told = json.loads(project.retrain("--json", command="status").stdout)["server"]
    return list(told.get("waiting", []))


def is_shown(project: Project, *words: str) -> bool:
    """Tell whether people are shown all of this; not while the server is too busy to tell in time."""
    shown = project.retrain(command="status").stdout
    return all(word in shown for word in words)


def test_what_is_proven_waits_for_an_answer_that_is_signed_kept_and_told(project: Project) -> None:
    with webhook() as (url, taken), up(project) as site:
        make_channel(site, url)
        site.up_again()
        run = site.complete("retrain/manual", params=PARAMS)
        message = site.state(run)["message"]
        assert message.startswith("Better than the champion: macro_f1 +"), message
        (asked,) = site.runs("promote")
        page = f"{site.url}/v2/runs/flow-run/{asked['id']}"
        assert f"It waits for somebody to approve it: press Resume at {page}" in message
        site.wait(asked["id"], "Suspended")
        told = heard(taken, "a model waits for an answer")
        assert told.startswith("colors, prod: Better than the champion: macro_f1 +"), told
        assert told.endswith(
            f"Press Resume and answer, or `retrain promote {asked['parameters']['run']}`.\n{page}"
        )
        (waits,) = until(lambda: waiting(project))
        assert (waits["of"], waits["url"]) == ("promote/promote", page)
        until(lambda: is_shown(project, "Waits for you: promote/promote", "retrain/nightly", "online"))

        refused = answer(site, asked["id"], answer="refuse", name="Ann", reason="green is not for sale yet")
        assert refused["name"] == "Refused"
        assert "| milliseconds |" in site.artifacts(asked["id"])["verdict"]["data"]
        measured = [line for line in site.logs(asked["id"]) if "measuring how long" in line]
        assert len(measured) == 1, "for the question, not for the answer"
        version = models(project)["v0.0.2"]
        assert (version["verdict"], version["stages"]) == ("refused", [])
        assert (version["by"], version["reason"]) == ("Ann in the Prefect UI", "green is not for sale yet")
        assert "colors@v0.0.2, prod: colors@v0.0.2 is refused by Ann" in heard(taken, "a model is refused")

        again = site.complete("retrain/manual", params=PARAMS)
        assert "was refused by Ann in the Prefect UI" in site.state(again)["message"]
        assert len(site.runs("promote")) == 1, "nobody is asked twice for the same model"

        asked = site.run("promote/promote", run=asked["parameters"]["run"], ask=True)
        approved = answer(site, asked, answer="approve", name="Bea", reason="it is for sale now")
        assert approved["name"] == "Completed", site.logs(asked)
        assert "colors@v0.0.2 has prod" in approved["message"]
        assert "colors@v0.0.2 has prod" in heard(taken, "a model is promoted")

        project.retrain("--name", "colors", command="rollback")
        assert "colors@v0.0.1 has prod again" in heard(taken, "a model is rolled back")
        subjects = [message["subject"] for message in taken]
        assert subjects.count("retrain: a model is refused") == 1, (
            "a night that decides nothing new tells nobody"
        )
    found = models(project)["v0.0.2"]
    (assignment,) = found["assignments"]
    assert (assignment["by"], assignment["reason"]) == ("Bea in the Prefect UI", "it is for sale now")


def test_a_question_that_nobody_answers_or_that_is_taken_back_promotes_nothing(project: Project) -> None:
    soon = PARAMS | {"promote": PARAMS["promote"] | {"ask_timeout_hours": 0.01}}
    with webhook() as (url, taken), up(project) as site:
        make_channel(site, url)
        site.up_again()
        site.complete("retrain/manual", params=soon)
        (asked,) = site.runs("promote")
        site.wait(asked["id"], "Suspended")
        # nobody works on a run that waits: who is killed meanwhile takes nothing with him
        site.process("worker-1").kill()
        site.wait(asked["id"], "Unanswered")
        message = site.state(asked["id"])["message"]
        assert message.startswith(
            "nobody answered in time (promote.ask_timeout_hours), so nothing is promoted"
        )
        assert asked["parameters"]["run"] in heard(taken, "nobody has answered")
        assert "retrain: a run failed" not in [message["subject"] for message in taken]
        assert set(models(project)) == {"v0.0.1"}

        site.up_again()
        again = site.complete("retrain/manual", params=soon)
        by_hand = f"`retrain promote {asked['parameters']['run']}`"
        assert f"has asked, and is over (Unanswered): {by_hand}" in site.state(again)["message"]

        taken_back = site.run("promote/promote", run=asked["parameters"]["run"], ask=True)
        site.wait(taken_back, "Suspended")
        site.request(f"flow_runs/{taken_back}/set_state", {"state": {"type": "CANCELLING"}})
        site.wait(taken_back, "Cancelled")
        assert set(models(project)) == {"v0.0.1"}


def fill_in(page: Page, site: Site, run: str, answer: str, name: str, reason: str) -> None:
    """Open the page of a run that waits, look at its verdict, press Resume, fill in the form and submit it."""
    site.wait(run, "Suspended")
    page.goto(f"{site.url}/v2/runs/flow-run/{run}")
    page.get_by_role("button", name="Open menu").first.click()
    page.get_by_role("menuitem", name="Resume").click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_text("Better than the champion: macro_f1")).to_be_visible()
    dialog.get_by_label("Name").fill(name)
    dialog.get_by_label("Reason").fill(reason)
    dialog.get_by_label("Answer").click()
    page.get_by_role("option", name=answer).click()
    keep(page, f"10-{answer}")
    resume = dialog.get_by_role("button", name="Resume")
    submit(resume, lambda patience: expect(dialog).to_be_hidden(timeout=patience))


@needs_chromium
def test_in_a_browser_one_is_refused_and_one_approved_with_a_reason(project: Project) -> None:
    with up(project) as site, chromium() as page:
        site.complete("retrain/manual", params=PARAMS)
        (asked,) = site.runs("promote")
        site.wait(asked["id"], "Suspended")
        log_in(page, site)
        read_verdict(page, site, asked["id"])
        fill_in(page, site, asked["id"], "refuse", "Ann", "green is not for sale yet")
        assert site.wait(asked["id"])["name"] == "Refused", site.logs(asked["id"])
        again = site.run("promote/promote", run=asked["parameters"]["run"], ask=True)
        fill_in(page, site, again, "approve", "Bea", "it is for sale now")
        assert site.wait(again)["name"] == "Completed", site.logs(again)
    refused = project.run("git", "show", "--no-patch", "colors@v0.0.2").stdout
    assert '"reason": "green is not for sale yet"' in refused
    assert '"by": "Ann in the Prefect UI"' in refused
    approved = project.run("git", "show", "--no-patch", "colors#prod#2").stdout
    assert '"reason": "it is for sale now"' in approved
    assert '"by": "Bea in the Prefect UI"' in approved
    shown = project.retrain("colors", command="models").stdout
    assert "prod" in next(line for line in shown.splitlines() if "colors@v0.0.2" in line)


def read_verdict(page: Page, site: Site, run: str) -> None:
    """Open the verdict among the run's artifacts: the sentence, the table, the pictures."""
    page.goto(f"{site.url}/v2/runs/flow-run/{run}")
    page.get_by_role("tab", name="Artifacts").click()
    artifact = site.artifacts(run)["verdict"]
    page.goto(f"{site.url}/v2/artifacts/artifact/{artifact['id']}")
    expect(page.get_by_text("Better than the champion").first).to_be_visible()
    expect(page.get_by_role("cell", name="accuracy").first).to_be_visible()
    see_pictures(page, 3)
    keep(page, "9-verdict")
