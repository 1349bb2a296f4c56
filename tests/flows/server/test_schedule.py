"""Runs that start by themselves: on new data, by the clock, after a crash; and what people are told of them."""

from base64 import b64encode

import pytest

from flows.server.services import SETTINGS
from tests.support.hold import held
from tests.support.planted import Planted
from tests.support.project import Project
from tests.support.site import up
from tests.support.stages import STAGES
from tests.support.wait import until
from tests.support.webhook import TOKEN, make_channel, webhook

PASSWORD = "retrain:planted-password"  # noqa: S105
# as often as workers look at the queue where nobody says otherwise, as other tests do
LOOKS = {name: SETTINGS[name] for name in ("PREFECT_WORKER_QUERY_SECONDS",)}
pytestmark = pytest.mark.slow
SECRETS = ("planted-password", b64encode(PASSWORD.encode()).decode(), TOKEN)


def append(project: Project, rows: int) -> None:
    """Append rows to the raw data and give one that was there another label."""
    raw = project.root / "data/raw/tickets.csv"
    lines = raw.read_text("utf-8").splitlines()
    text, label, created = lines[5].rsplit(",", 2)
    lines[5] = ",".join([text, "feedback" if label != "feedback" else "order_status", created])
    raw.write_text(
        "\n".join(
            [
                *lines,
                *(
                    f"new message number {i} about a parcel,order_status,2026-01-0{i + 1}"
                    for i in range(rows)
                ),
            ]
        )
        + "\n",
        encoding="utf-8",
    )


def test_new_data_starts_a_run_by_itself_failures_are_told_and_no_secret_leaves_the_environment(
    trained: Project,
) -> None:
    project, planted = trained, Planted()
    environment = {"AWS_SECRET_ACCESS_KEY": planted["AWS"], "HF_TOKEN": planted["hub"]}
    with webhook() as (url, taken), up(project, password=PASSWORD, **environment, **LOOKS) as site:
        make_channel(site, url)
        again = site.up_again()
        assert "Custom Webhook" in again.stderr

        # without new data, a night starts no stage
        # it remembers what it saw
        site.complete("watch/every-five-minutes")
        night = site.complete("retrain/nightly", called="..", update_data=True)
        assert site.tasks(night) == dict.fromkeys(STAGES, "Cached")
        assert not any(line.startswith("running:") for line in site.logs(night))
        assert site.runs("on-new-data") == []
        # a name that leads out is none; what a run logs arrives a little after its state
        until(lambda: f"what this run keeps is called {night[:8]}" in " ".join(site.logs(night)))

        append(project, rows=3)
        site.complete("watch/every-five-minutes")
        (started,) = until(lambda: site.runs("on-new-data"))
        assert site.wait(started["id"])["name"] == "Completed", site.logs(started["id"])
        assert site.tasks(started["id"])["ingest"] == "Completed"
        report = site.artifacts(started["id"])["report"]["data"]
        assert "3 added, 0 removed, 1 relabelled" in report

        params = {"data": {"path": "data/raw/nowhere.csv"}}
        failed = site.run("retrain/manual", params=params)
        sentence = site.wait(failed)["message"]
        assert "there is no file or folder 'data/raw/nowhere.csv'" in sentence
        until(lambda: any("given: data.path data/raw/nowhere.csv" in line for line in site.logs(failed)))
        told = until(lambda: [message for message in taken if "nowhere" in message["body"]])
        assert told[0]["subject"] == "retrain: a run failed"
        assert f"{site.url}/v2/runs/flow-run/{failed}" in told[0]["body"]

        # the server itself refuses what it would have to keep
        for secret in (
            f"https://me:{planted['URL']}@host/a.csv",
            f"https://host/a.csv?sig={planted['link']}",
        ):
            with pytest.raises(AssertionError, match="409"):
                site.run("retrain/manual", params={"data": {"path": secret}})

        # nobody is there to take the next run
        site.process("worker-1").kill()
        site.run("retrain/manual")
        until(
            lambda: (
                {"retrain: a run is late", "retrain: no worker"} <= {message["subject"] for message in taken}
            )
        )

    for file in [
        *(project.root / ".retrain/logs").iterdir(),
        *(project.root / ".retrain/prefect").glob("prefect.db*"),
    ]:
        content = file.read_bytes()
        assert not [secret for secret in SECRETS if secret.encode() in content], file
    assert planted.leaks(project.root) == {}
    assert (project.root / ".retrain").stat().st_mode & 0o777 == 0o700
    assert (project.root / ".retrain/logs/server.log").stat().st_mode & 0o777 == 0o600


def test_a_clock_faster_than_the_training_neither_overlaps_nor_piles_up(trained: Project) -> None:
    with held(trained) as hold, up(trained, "--limit", "1") as site:
        nightly = site.request("deployments/name/retrain/nightly")["id"]
        clock = [{"schedule": {"cron": "* * * * * */5", "timezone": "Etc/UTC"}, "active": True}]
        site.request(f"deployments/{nightly}/schedules", clock)
        most_running = 0

        def ended() -> int:
            """Count the firings that have ended; note how many ran at once."""
            nonlocal most_running
            runs = site.runs("nightly")
            most_running = max(most_running, sum(run["state_type"] in ("RUNNING", "PENDING") for run in runs))
            return sum(run["state_type"] in ("COMPLETED", "CANCELLED") for run in runs)

        hold.reached()
        # were they to pile up behind the training, none would end before it does
        until(lambda: ended() >= 3)
        assert {run["state_name"] for run in site.runs("nightly") if run["end_time"]} == {"Cancelled"}
        hold.release()
        until(lambda: ended() >= 7 and any(run["state_name"] == "Completed" for run in site.runs("nightly")))
        site.request(f"deployments/{nightly}/pause_deployment", {})
        runs = [
            run
            for run in site.runs("nightly")
            if run["state_type"] in ("COMPLETED", "CANCELLED", "FAILED", "CRASHED")
        ]
        assert most_running == 1
        assert {run["state_name"] for run in runs} == {"Completed", "Cancelled"}, [
            run["state"] for run in runs
        ]
        assert runs[0]["state_name"] == "Completed"
        reasons = {run["state"]["message"] for run in runs if run["state_name"] == "Cancelled"}
        assert all(
            reason == "Deployment concurrency limit reached."
            or "does what this run would have done" in reason
            for reason in reasons
        )


def test_cancelled_crashed_and_cut_off_from_the_server_a_run_goes_on_to_the_same_bytes(
    trained: Project,
) -> None:
    with held(trained) as hold, up(trained) as site:
        first = site.run("retrain/nightly")
        hold.reached()
        site.request(f"flow_runs/{first}/set_state", {"state": {"type": "CANCELLING"}})
        site.wait(first, "Cancelled")

        # the one slot of its deployment is free again
        run = site.run("retrain/nightly")
        until(lambda: any("going on from checkpoint" in line for line in site.logs(run)))
        hold.reached()
        site.flow(run).kill()
        site.wait(run, "Crashed")

        site.run("watch/every-five-minutes")
        until(lambda: sum("going on from checkpoint" in line for line in site.logs(run)) == 2)
        hold.reached()
        site.process("server").kill()
        site.up_again()
        hold.release()
        # it had to report in the very moment when there was no server
        if site.wait(run)["name"] == "Crashed":
            site.up_again()
        site.wait(run, "Completed")
    (name,) = trained.dvc("exp", "list", "--name-only").stdout.split()
    assert "bit-identical" in trained.retrain(name, command="reproduce").stdout
