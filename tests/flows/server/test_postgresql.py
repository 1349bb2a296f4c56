"""`retrain up` on PostgreSQL with two workers: many runs drain without an error in any log, and a dead worker's run goes on at the other."""

import os
from collections.abc import Iterator

import psutil
import pytest

from tests.support.hold import held
from tests.support.postgresql import PASSWORD, PROGRAMS, postgresql
from tests.support.project import Project
from tests.support.site import Site, up
from tests.support.stages import STAGES
from tests.support.wait import PATIENCE, until
from tests.support.webhook import make_channel, webhook

# 100 shows more, in several minutes
RUNS = int(os.environ.get("RETRAIN_TEST_RUNS", "8"))
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not PROGRAMS, reason="PostgreSQL is not installed (Debian: apt-get install postgresql)"
    ),
]


@pytest.fixture
def database() -> Iterator[str]:
    """The address of an empty database."""
    with postgresql() as address:
        yield address


def takers(site: Site, *runs: str) -> set[str]:
    """Return the services of the workers that have started a process for one of these runs: worker-1, worker-2."""
    names = [site.request(f"flow_runs/{run}")["name"] for run in runs]
    started = [f"Flow run '{name}' submitted to infrastructure" for name in names]
    logs = (site.project.root / ".retrain/logs").glob("worker-*.log")
    return {log.stem for log in logs if any(line in log.read_text("utf-8") for line in started)}


def test_two_workers_drain_many_runs_without_an_error(trained: Project, database: str) -> None:
    (trained.root / ".retrain/prefect/prefect.db").unlink()
    words = ("--workers", "2", "--limit", "2")
    with up(trained, *words, PREFECT_SERVER_DATABASE_CONNECTION_URL=database) as site:
        runs = [site.run("retrain/manual") for _ in range(RUNS)]
        until(lambda: not site.runs("manual", type={"any_": ["SCHEDULED", "PENDING", "RUNNING"]}))
        for run in runs:
            assert site.state(run)["name"] == "Completed", site.logs(run)
        assert site.tasks(runs[0]) == dict.fromkeys(STAGES, "Cached")
        assert takers(site, *runs) == {"worker-1", "worker-2"}
    for log in (trained.root / ".retrain/logs").iterdir():
        wrong = [
            line for line in log.read_text("utf-8").splitlines() if "ERROR" in line or "Traceback" in line
        ]
        assert not wrong, f"{log.name}: {wrong[:5]}"
        assert PASSWORD not in log.read_text("utf-8"), "the database's password is in no log"
    assert not list((trained.root / ".retrain/prefect").glob("*.db")), "nothing is kept in SQLite"


def test_the_other_worker_goes_on_with_a_dead_workers_run_and_a_dead_server_loses_nothing(
    trained: Project, database: str
) -> None:
    workers = up(trained, "--workers", "2", PREFECT_SERVER_DATABASE_CONNECTION_URL=database)
    with held(trained) as hold, webhook() as (url, told), workers as site:
        make_channel(site, url)
        site.up_again()
        # which needs the one slot of its deployment again in order to go on
        run = site.run("retrain/nightly")
        processes = [hold.reached(), site.flow(run)]
        # its first look only remembers
        site.complete("watch/every-five-minutes")
        (dead,) = takers(site, run)
        site.process(dead).kill()
        site.wait(run, "Crashed")
        assert not psutil.wait_procs(processes, PATIENCE)[1], "its flow and the training have ended with it"

        site.complete("watch/every-five-minutes")
        until(lambda: any("going on from checkpoint" in line for line in site.logs(run)))
        assert len(takers(site, run)) == 2, "the other worker has taken it"

        until(
            lambda: any(
                worker["status"] == "OFFLINE"
                for worker in site.request("work_pools/retrain/workers/filter", {})
            )
        )
        site.complete("watch/every-five-minutes")
        message = until(
            lambda: [message["body"] for message in told if message["subject"] == "retrain: a worker is gone"]
        )
        assert f"-{dead[-1]} of work pool retrain was last heard of at" in message[0]

        hold.reached()
        site.process("server").kill()
        site.up_again()
        hold.release()
        site.wait(run, "Completed")
    (name,) = trained.dvc("exp", "list", "--name-only").stdout.split()
    assert "bit-identical" in trained.retrain(name, command="reproduce").stdout
