"""A clone with `retrain up` running in it, as a user has it, for the tests of schedules, the UI and production."""

import json
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psutil

from tests.support.ports import free_port
from tests.support.project import Project
from tests.support.server import kind, request, task_states
from tests.support.wait import until

# the most that the server gives at a time
PAGE = 200


@dataclass
class Site:
    """A project, the address of its Prefect server, and the password that guards it."""

    project: Project
    url: str
    password: str

    def request(self, path: str, data: Any = None, method: str | None = None) -> Any:
        """Ask the server's API and return its answer."""
        return request(f"{self.url}/api", path, data, method, self.password)

    def runs(self, deployment: str | None = None, **state: Any) -> list[dict[str, Any]]:
        """Return the flow runs, of one deployment or all, the first to start first."""
        asked: dict[str, Any] = {"sort": "EXPECTED_START_TIME_ASC", "limit": 200}
        if deployment:
            asked["deployments"] = {"name": {"any_": [deployment]}}
        if state:
            asked["flow_runs"] = {"state": state}
        found: list[dict[str, Any]] = self.request("flow_runs/filter", asked)
        return found

    def run(self, deployment: str, called: str | None = None, **parameters: Any) -> str:
        """Start a run of a deployment, such as retrain/manual, perhaps under a name; return its id."""
        flow, name = deployment.split("/")
        known = self.request(f"deployments/name/{flow}/{name}")
        asked = {"parameters": parameters, "state": {"type": "SCHEDULED"}, "name": called}
        return str(self.request(f"deployments/{known['id']}/create_flow_run", asked)["id"])

    def state(self, run: str) -> dict[str, Any]:
        """Return the state of a flow run."""
        state: dict[str, Any] = self.request(f"flow_runs/{run}")["state"]
        return state

    def wait(self, run: str, *names: str) -> dict[str, Any]:
        """Wait until a run is in one of the states named (any that is final, if none is) and return that state."""

        def arrived() -> dict[str, Any] | None:
            state = self.state(run)
            if names:
                return state if state["name"] in names else None
            return state if state["type"] in ("COMPLETED", "FAILED", "CANCELLED", "CRASHED") else None

        state: dict[str, Any] = until(arrived)
        return state

    def complete(self, deployment: str, called: str | None = None, **parameters: Any) -> str:
        """Run a deployment to its end and return the run's id."""
        run = self.run(deployment, called, **parameters)
        state = self.wait(run)
        assert state["name"] == "Completed", (state, self.logs(run))
        return run

    def logs(self, run: str) -> list[str]:
        """Return what a run has logged."""
        found: list[str] = []
        while True:
            asked = {
                "logs": {"flow_run_id": {"any_": [run]}},
                "sort": "TIMESTAMP_ASC",
                "limit": PAGE,
                "offset": len(found),
            }
            page = self.request("logs/filter", asked)
            found += [log["message"] for log in page]
            if len(page) < PAGE:
                return found

    def tasks(self, run: str) -> dict[str, str]:
        """Return the states of a run's tasks by their names."""
        return task_states(f"{self.url}/api", run, self.password)

    def artifacts(self, run: str) -> dict[str, dict[str, Any]]:
        """Return the artifacts of a run by their kinds."""
        found = self.request("artifacts/filter", {"flow_runs": {"id": {"any_": [run]}}})
        return {kind(artifact["key"], run): artifact for artifact in found}

    def process(self, service: str) -> psutil.Process:
        """Return the process of a service that `retrain up` has started: server, worker-1, worker-2."""
        record = json.loads((self.project.root / f".retrain/services/{service}.json").read_text("utf-8"))
        return psutil.Process(record["pid"])

    def flow(self, run: str) -> psutil.Process:
        """Return the process that works on a run."""
        return psutil.Process(int(until(lambda: self.request(f"flow_runs/{run}")["infrastructure_pid"])))

    def up_again(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run `retrain up` once more."""
        return self.project.retrain("--port", self.url.rpartition(":")[2], *words, command="up")


def pause_schedules(project: Project) -> None:
    """Have the clone's schedules be registered as paused, so that no run starts which the test has not asked for."""
    file = project.root / "prefect.yaml"
    schedule = re.compile(r"^( +)- slug: .*$", re.MULTILINE)
    file.write_text(schedule.sub(r"\g<0>\n\1  active: false", file.read_text("utf-8")), encoding="utf-8")
    project.run("git", "commit", "-qm", "a test pauses the schedules", "prefect.yaml")


@contextmanager
def up(
    project: Project, *words: str, password: str | None = None, schedules: bool = False, **env: str
) -> Iterator[Site]:
    """Run `retrain up` in a clone, its schedules paused unless they are asked for, and `retrain down` in the end."""
    port = free_port()
    # a run starts at once; as it comes, up to five seconds later
    project.env |= {"PREFECT_WORKER_QUERY_SECONDS": "1"} | env
    if password:
        project.env["PREFECT_SERVER_API_AUTH_STRING"] = password
    if not schedules:
        pause_schedules(project)
    try:
        project.retrain("--port", str(port), *words, command="up")
        made = project.root / ".retrain/password"
        yield Site(project, f"http://127.0.0.1:{port}", password or made.read_text("utf-8").strip())
    finally:
        project.retrain(command="down")
