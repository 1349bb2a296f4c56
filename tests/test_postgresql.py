"""`retrain up` on PostgreSQL with two workers: many runs drain without an error in any log."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Project
from tests.site import free_port, until, up
from tests.test_prefect import STAGES

RUNS = int(os.environ.get("RETRAIN_TEST_RUNS", "8"))  # 100 shows more, in several minutes
PROGRAMS = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
pytestmark = pytest.mark.skipif(not PROGRAMS, reason="PostgreSQL is not installed (Debian: apt-get install postgresql)")


@pytest.fixture
def database() -> Iterator[str]:
    """The address of a database in a PostgreSQL cluster of its own, on loopback, guarded by a password."""
    port = free_port()
    owner = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []  # initdb refuses root
    with tempfile.TemporaryDirectory(prefix="postgresql-") as folder:
        data, password = f"{folder}/data", Path(folder, "password")
        password.write_text("planted")
        if owner:
            shutil.chown(folder, "postgres")
            shutil.chown(password, "postgres")

        def run(program: str, *words: str) -> None:
            subprocess.run([*owner, str(PROGRAMS[-1] / program), *words], cwd="/", check=True, stdout=subprocess.DEVNULL)

        run("initdb", "-D", data, "-U", "retrain", "--auth=scram-sha-256", f"--pwfile={password}")
        run("pg_ctl", "-D", data, "-w", "-l", f"{folder}/log", "-o", f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories=", "start")
        try:
            env = {**os.environ, "PGPASSWORD": "planted"}
            subprocess.run([str(PROGRAMS[-1] / "createdb"), "-h", "127.0.0.1", "-p", str(port), "-U", "retrain", "prefect"], check=True, env=env)
            yield f"postgresql+asyncpg://retrain:planted@127.0.0.1:{port}/prefect"
        finally:
            run("pg_ctl", "-D", data, "-m", "fast", "stop")


def test_two_workers_drain_many_runs_without_an_error(trained: Project, database: str) -> None:
    with up(trained, "--workers", "2", PREFECT_SERVER_DATABASE_CONNECTION_URL=database) as site:
        runs = [site.run("retrain/manual") for _ in range(RUNS)]
        until(lambda: not site.runs("manual", type={"any_": ["SCHEDULED", "PENDING", "RUNNING"]}), 20 * RUNS + 120)
        for run in runs:
            assert site.state(run)["name"] == "Completed", site.logs(run)
        assert site.tasks(runs[0]) == dict.fromkeys(STAGES, "Cached")
        submitted = [line for run in runs for line in site.logs(run) if "submitting flow run" in line]
        assert len({line.partition("submitting")[0] for line in submitted}) == 2, "both workers took some"
    for log in (trained.root / ".retrain/logs").iterdir():
        wrong = [line for line in log.read_text("utf-8").splitlines() if "ERROR" in line or "Traceback" in line]
        assert not wrong, f"{log.name}: {wrong[:5]}"
        assert "planted" not in log.read_text("utf-8"), "the database's password is in no log"
    assert not list((trained.root / ".retrain/prefect").glob("*.db")), "nothing is kept in SQLite"
