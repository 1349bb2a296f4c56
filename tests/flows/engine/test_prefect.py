"""What a person sees in Prefect: stages as named tasks, cached states, live logs, progress, a report; and a run started from a deployment."""

import re
import sys

from tests.support.project import Project
from tests.support.server import artifacts, ask, flow_run, task_states
from tests.support.stages import STAGES


def test_a_deployed_run_shows_its_stages_logs_progress_and_report(project: Project, server: str) -> None:
    project.env["PREFECT_API_URL"] = server
    prefect = (sys.executable, "-m", "prefect", "--no-prompt")
    project.run(*prefect, "work-pool", "create", "retrain", "--type", "process")
    project.run(*prefect, "deploy", "--name", "manual")
    # after the deployment params.yaml changes, and what the run is not given is what it says then
    project.run("sed", "-i", "s/num_train_epochs: 2.0/num_train_epochs: 3.0/", "params.yaml")
    project.run(*prefect, "deployment", "run", "retrain/manual", "--param", 'params={"train": {"learning_rate": 0.003}}')
    project.run(*prefect, "worker", "start", "--pool", "retrain", "--run-once", "--limit", "1")
    (flow, *_) = ask(server, "flow_runs/filter", deployments={"name": {"any_": ["manual"]}}, sort="EXPECTED_START_TIME_DESC")
    assert flow["state_name"] == "Completed", project.run(*prefect, "flow-run", "logs", flow["id"]).stdout
    assert task_states(server, flow["id"]) == dict.fromkeys(STAGES, "Completed")
    logs = [log["message"] for log in ask(server, "logs/filter", logs={"flow_run_id": {"any_": [flow["id"]]}}, limit=200)]
    assert any(message.startswith("validation at step") for message in logs), "a stage's output stands in the logs"
    assert [message for message in logs if message.startswith("given: ")] == ["given: train.learning_rate 0.003 (params.yaml: 0.0002)"]
    ref = project.run("git", "for-each-ref", "--format=%(refname)", f"refs/exps/**/{flow['name']}").stdout.strip()
    assert "num_train_epochs: 3.0" in project.run("git", "show", f"{ref}:params.yaml").stdout
    left = artifacts(server, flow)
    assert left["train-progress"]["data"] == 100
    assert "loss" in left["train-progress"]["description"]
    report = left["report"]["data"]
    assert "| train | **ran** |" in report
    assert report.count("data:image/png;base64,") == 2
    assert "dvc exp apply" in report
    assert "No earlier run of this problem on this data is on record" in report
    assert "learning_rate: 0.003" not in (project.root / "params.yaml").read_text("utf-8"), "the checkout stays as it was"

    # the run names its experiment, and the experiment its run
    ended = re.fullmatch(rf"0 of 6 stages cached; macro F1 0\.\d\d \[.*\]; experiment {flow['name']}", flow["state"]["message"])
    assert ended is not None, flow["state"]["message"]
    assert left["report"]["description"] == ended[0]
    assert set(flow["tags"]) == {"retrain", f"experiment:{flow['name']}"}
    assert f"`experiment:{flow['name']}`" in report
    message = project.run("git", "log", "-1", "--format=%B", f"--glob=refs/exps/*/*/{flow['name']}").stdout
    assert f"flow run {flow['name']} ({flow['id']})" in message
    assert f"{server.removesuffix('/api')}/runs/flow-run/{flow['id']}" in message

    again = project.retrain("--train.learning-rate", "0.003")
    second = flow_run(server, again.stderr)
    assert second["state"]["message"].startswith("6 of 6 stages cached; macro F1")
    verdict = r"^(Better|Worse|As good|Not shown to be better or worse) (than|as) the tfidf_linear baseline: macro F1"
    assert re.search(verdict, again.stdout, re.MULTILINE)

    # each run's link opens its own report, and one beside them is the latest
    for run in (flow, second):
        key = f"report-{run['name']}-{run['id'][:8]}"
        own = ask(server, "artifacts/filter", artifacts={"key": {"any_": [key]}})
        assert [artifact["flow_run_id"] for artifact in own] == [run["id"]]
        assert own[0]["data"].startswith(f"# ticket-intents: {run['name']}")
    (latest,) = ask(server, "artifacts/filter", artifacts={"key": {"any_": ["report"]}})
    assert latest["flow_run_id"] is None, "no run's Artifacts tab leads to it"
    assert latest["description"] == second["state"]["message"]
    assert "Cached" in again.stderr
    assert "running:" not in again.stderr
    assert "up to date" in project.dvc("status").stdout


def test_a_wrong_value_in_the_form_is_refused_by_the_api(project: Project, server: str) -> None:
    project.env["PREFECT_API_URL"] = server
    prefect = (sys.executable, "-m", "prefect", "--no-prompt")
    project.run(*prefect, "work-pool", "create", "retrain", "--type", "process", status=None)
    project.run(*prefect, "deploy", "--name", "manual")
    wrong = 'params={"train": {"learning_rate": -1}}'
    refused = project.run(*prefect, "deployment", "run", "retrain/manual", "--param", wrong, status=None)
    assert refused.returncode != 0
    assert "learning_rate" in refused.stdout + refused.stderr or "-1" in refused.stdout + refused.stderr
