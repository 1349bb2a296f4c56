"""`retrain status`: what is in production and what goes on, whatever of it there is, in one screen and as JSON."""

import json
from typing import Any

import pytest

from tests.support.project import Project
from tests.support.server import flow_run

HEAVY = ("torch", "transformers", "datasets", "prefect")
ALONE = f"""import sys
from flows.cli.app import main
try:
    main(["status"])
except SystemExit as end:
    assert end.code == 0
    assert not [name for name in {HEAVY} if name in sys.modules]
"""


def status(project: Project) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(project.retrain("--json", command="status").stdout)
    return told


def test_without_server_registry_and_commit_each_is_a_line_and_no_error(project: Project) -> None:
    project.run("git", "update-ref", "-d", "HEAD")
    shown = project.retrain(command="status").stdout
    assert "ticket-intents#prod  nobody" in shown
    assert "No model is in production: `retrain promote RUN` gives one the stage." in shown
    assert "no Prefect server is configured here; `retrain up` starts one" in shown
    told = status(project)
    assert told["last_kept"] is None
    assert [(stage["name"], stage["stage"], stage["champion"]) for stage in told["stages"]] == [
        ("ticket-intents", "prod", None)
    ]


@pytest.mark.slow
def test_the_champion_is_shown_with_its_score_who_gave_it_the_stage_and_whether_there_is_newer_data(
    trained: Project,
) -> None:
    forced = ("--force", "--reason", "there is no other")
    trained.retrain("HEAD", *forced, command="promote")
    (stage,) = status(trained)["stages"]
    champion = stage["champion"]
    assert champion["version"] == "ticket-intents@v0.0.1"
    assert (champion["by"], champion["why"]) == ("hand", "there is no other")
    assert champion["who"] == "COMMITTER@example.org <COMMITTER@example.org>"
    low, high = champion["interval"]
    assert champion["metric"] == "macro_f1"
    assert low <= champion["score"] <= high
    assert champion["data"]["is_newer"] is False

    raw = trained.root / "data/raw/tickets.csv"
    raw.write_text(raw.read_text("utf-8") + "one more message,feedback,2026-01-01\n", encoding="utf-8")
    shown = trained.retrain(command="status").stdout
    assert "there is no other" in shown
    assert "data/raw/tickets.csv has changed since it was trained on: " in shown
    assert status(trained)["stages"][0]["champion"]["data"]["is_newer"] is True


@pytest.mark.slow
def test_the_data_of_a_champion_is_looked_at_where_it_was_imported_from(trained: Project) -> None:
    source = trained.root.parent / "outside.csv"
    source.write_text((trained.root / "data/raw/tickets.csv").read_text("utf-8"), encoding="utf-8")
    trained.retrain("--data.path", str(source), "--train.max-steps", "1")
    trained.run("git", "add", "-A")
    trained.run("git", "commit", "-qm", "imported")
    trained.retrain("HEAD", "--force", "--reason", "first", command="promote")
    assert status(trained)["stages"][0]["champion"]["data"]["is_newer"] is False
    source.write_text(source.read_text("utf-8") + "one more message,feedback,2026-01-01\n", encoding="utf-8")
    data = status(trained)["stages"][0]["champion"]["data"]
    assert data["is_newer"] is True
    assert data["sentence"].startswith(f"{source} has changed since it was trained on: ")


def test_nothing_heavy_is_imported_where_there_is_no_server(trained: Project) -> None:
    trained.run(trained.python, "-c", ALONE)


@pytest.mark.slow
def test_a_server_tells_of_the_last_runs_and_one_that_is_gone_is_a_sentence(
    trained: Project, server: str, nowhere: str
) -> None:
    trained.env["PREFECT_API_URL"] = server
    name = flow_run(server, trained.retrain().stderr)["name"]
    told = status(trained)["server"]
    assert told["fault"] is None
    # other tests have runs there too
    (run,) = [one for one in told["last"] if one["name"] == name]
    assert (run["of"], run["state"]) == ("retrain", "Completed")
    assert "7 of 7 stages cached" in run["said"]
    assert "7 of 7 stages cached" in " ".join(trained.retrain(command="status").stdout.split())

    trained.env["PREFECT_API_URL"] = f"{nowhere}/api"
    assert "no Prefect server answers at" in trained.retrain(command="status").stdout
    assert "no Prefect server answers at" in status(trained)["server"]["fault"]


@pytest.mark.parametrize("written", ["not a look", '{"number": 0}'])
def test_looks_that_cannot_be_counted_are_a_sentence(trained: Project, written: str) -> None:
    blob = trained.run("bash", "-c", f"printf %s '{written}' | git hash-object -w --stdin").stdout.strip()
    tree = trained.run(
        "bash", "-c", f"printf '100644 blob {blob}\\tlook.json\\n' | git mktree"
    ).stdout.strip()
    commit = trained.run("git", "commit-tree", tree, "-m", "forged").stdout.strip()
    trained.run("git", "update-ref", "refs/retrain/looks/ticket-intents", commit)
    (stage,) = status(trained)["stages"]
    assert stage["looks"] is None
    assert "no record of a look" in stage["fault"]
