"""What a person sees in Prefect: stages as named tasks, cached states, live logs, progress, a report; and a run started from a deployment."""

import re
import sys

import pytest

from tasks.shared.markup import plain
from tests.support.project import Project
from tests.support.server import artifacts, ask, flow_run, task_states
from tests.support.stages import STAGES

VERDICT = (
    r"^(Better|Worse|As good|Not shown to be better or worse) (than|as) the tfidf_linear baseline: macro_f1"
)


@pytest.mark.slow
def test_a_form_refuses_what_cannot_be_and_its_run_shows_stages_logs_progress_and_report(
    project: Project, server: str
) -> None:
    project.env["PREFECT_API_URL"] = server
    prefect = (sys.executable, "-m", "prefect", "--no-prompt")
    for arguments in (
        ("work-pool", "create", "retrain", "--type", "process"),
        ("deploy", "--name", "manual"),
    ):
        project.run(*prefect, *arguments)
    run = (*prefect, "deployment", "run", "retrain/manual", "--param")
    refused = project.run(*run, 'params={"train": {"learning_rate": -1}}', status=1)
    assert "learning_rate" in refused.stdout + refused.stderr
    # after the deployment params.yaml changes, and what the run is not given is what it says then
    project.run("sed", "-i", "s/num_train_epochs: 2.0/num_train_epochs: 3.0/", "params.yaml")
    project.run(*run, 'params={"train": {"learning_rate": 0.003}}')
    project.run(*prefect, "worker", "start", "--pool", "retrain", "--run-once", "--limit", "1")
    (flow, *_) = ask(
        server,
        "flow_runs/filter",
        deployments={"name": {"any_": ["manual"]}},
        sort="EXPECTED_START_TIME_DESC",
    )
    assert flow["state_name"] == "Completed", project.run(*prefect, "flow-run", "logs", flow["id"]).stdout
    assert task_states(server, flow["id"]) == dict.fromkeys(STAGES, "Completed")
    logs = [
        log["message"]
        for log in ask(server, "logs/filter", logs={"flow_run_id": {"any_": [flow["id"]]}}, limit=200)
    ]
    assert any(line.startswith("validation at step") for line in logs), "a stage's output stands in the logs"
    assert [line for line in logs if line.startswith("given: ")] == [
        "given: train.learning_rate 0.003 (params.yaml: 0.0002)"
    ]
    ref = project.run(
        "git", "for-each-ref", "--format=%(refname)", f"refs/exps/**/{flow['name']}"
    ).stdout.strip()
    assert "num_train_epochs: 3.0" in project.run("git", "show", f"{ref}:params.yaml").stdout
    left = artifacts(server, flow)
    assert left["train-progress"]["data"] == 100
    assert "loss" in left["train-progress"]["description"]
    report = left["report"]["data"]
    assert "| train | **ran** |" in report
    assert report.count("data:image/png;base64,") == 3
    assert "dvc exp apply" in report
    assert "No earlier run of this problem on this data is on record" in report
    assert "learning_rate: 0.003" not in (project.root / "params.yaml").read_text("utf-8"), (
        "the checkout stays as it was"
    )

    # the run names its experiment, and the experiment its run
    ended = re.fullmatch(
        rf"0 of 7 stages cached; macro_f1 0\.\d{{4}} \(.*\); experiment {flow['name']}",
        flow["state"]["message"],
    )
    assert ended is not None, flow["state"]["message"]
    # the UI reads it as Markdown
    assert left["report"]["description"] == plain(ended[0])
    assert set(flow["tags"]) == {"retrain", f"experiment:{flow['name']}"}
    assert f"`experiment:{flow['name']}`" in report
    message = project.run("git", "log", "-1", "--format=%B", ref).stdout
    assert f"flow run {flow['name']} ({flow['id']})" in message
    assert f"{server.removesuffix('/api')}/runs/flow-run/{flow['id']}" in message

    again = project.retrain("--train.learning-rate", "0.003")
    second = flow_run(server, again.stderr)
    assert second["state"]["message"].startswith("7 of 7 stages cached; macro_f1")
    assert second["parameters"] == {"params": {"train": {"learning_rate": 0.003}}, "update_data": False}
    assert re.search(VERDICT, again.stdout, re.MULTILINE)

    # each run's link opens its own report, and one beside them is the latest
    for shown in (flow, second):
        key = f"report-{shown['name']}-{shown['id'][:8]}"
        own = ask(server, "artifacts/filter", artifacts={"key": {"any_": [key]}})
        assert [artifact["flow_run_id"] for artifact in own] == [shown["id"]]
        assert own[0]["data"].startswith(f"# ticket-intents: {shown['name']}")
    (latest,) = ask(server, "artifacts/latest/filter", artifacts={"key": {"any_": ["report"]}})
    assert latest["flow_run_id"] is None, "no run's Artifacts tab leads to it"
    every = ask(
        server, "artifacts/filter", artifacts={"key": {"like_": "report-"}}, sort="CREATED_DESC", limit=200
    )
    assert latest["description"] in {artifact["description"] for artifact in every}, (
        "of this run, or of one that another test has run since"
    )
    assert "running:" not in again.stderr
    assert "up to date" in project.dvc("status").stdout
