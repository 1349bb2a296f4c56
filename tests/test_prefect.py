"""What a person sees in Prefect: stages as named tasks, cached states, live logs, progress, a report; and a run started from a deployment."""

import json
import sys
import urllib.request
from typing import Any

from tests.conftest import Project

STAGES = {"ingest", "split", "tokenize", "train", "evaluate", "package"}


def ask(server: str, path: str, **query: Any) -> Any:
    """POST a filter to the server's API and return what it answers."""
    request = urllib.request.Request(f"{server}/{path}", json.dumps(query).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


def test_a_deployed_run_shows_its_stages_logs_progress_and_report(project: Project, server: str) -> None:
    project.env["PREFECT_API_URL"] = server
    prefect = (sys.executable, "-m", "prefect", "--no-prompt")
    project.run(*prefect, "work-pool", "create", "retrain", "--type", "process")
    project.run(*prefect, "deploy", "--all")
    project.run(*prefect, "deployment", "run", "retrain/manual", "--param", "params=" + json.dumps(form(project)))
    project.run(*prefect, "worker", "start", "--pool", "retrain", "--run-once", "--limit", "1")
    (flow,) = ask(server, "flow_runs/filter", flow_runs={"deployment_id": {"is_null_": False}})
    assert flow["state_name"] == "Completed", project.run(*prefect, "flow-run", "logs", flow["id"]).stdout
    mine = {"flow_runs": {"id": {"any_": [flow["id"]]}}}
    tasks = ask(server, "task_runs/filter", **mine)
    assert {task["name"] for task in tasks} == STAGES
    assert {task["state_name"] for task in tasks} == {"Completed"}
    logs = [log["message"] for log in ask(server, "logs/filter", logs={"flow_run_id": {"any_": [flow["id"]]}}, limit=200)]
    assert any(message.startswith("validation at step") for message in logs), "a stage's output stands in the logs"
    artifacts = {artifact["key"]: artifact for artifact in ask(server, "artifacts/filter", **mine)}
    assert artifacts["train-progress"]["data"] == 100
    assert "loss" in artifacts["train-progress"]["description"]
    report = artifacts["report"]["data"]
    assert "| train | **ran** |" in report
    assert report.count("data:image/png;base64,") == 2
    assert "dvc exp apply" in report
    assert "learning_rate: 0.003" not in (project.root / "params.yaml").read_text("utf-8"), "the checkout stays as it was"
    assert flow["name"] in project.dvc("exp", "list").stdout

    again = project.retrain("--train.learning-rate", "0.003")
    assert "Cached" in again.stderr
    assert "running:" not in again.stderr
    assert "up to date" in project.dvc("status").stdout


def test_a_wrong_value_in_the_form_is_refused_by_the_api(project: Project, server: str) -> None:
    project.env["PREFECT_API_URL"] = server
    prefect = (sys.executable, "-m", "prefect", "--no-prompt")
    project.run(*prefect, "work-pool", "create", "retrain", "--type", "process", status=None)
    project.run(*prefect, "deploy", "--all")
    wrong = form(project)
    wrong["train"]["learning_rate"] = -1
    refused = project.run(*prefect, "deployment", "run", "retrain/manual", "--param", "params=" + json.dumps(wrong), status=None)
    assert refused.returncode != 0
    assert "learning_rate" in refused.stdout + refused.stderr or "-1" in refused.stdout + refused.stderr


def form(project: Project) -> dict[str, Any]:
    """Return what the form would send: the defaults with another learning rate."""
    from tasks.params_file import load

    params = load(project.root / "params.yaml").model_dump()
    params["train"]["learning_rate"] = 0.003
    return params
