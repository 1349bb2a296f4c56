"""A real Prefect server on loopback for the tests that talk to one, and what it tells of a run."""

import os
import re
import subprocess
import sys
import urllib.error
import urllib.request
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import urllib3

from flows.server.guard import protect
from tests.support.ports import free_port
from tests.support.project import ROOT
from tests.support.stages import STAGES
from tests.support.until_gone import end
from tests.support.wait import PATIENCE, until

BUSY = urllib3.Retry(
    total=None,
    connect=0,
    read=0,
    redirect=0,
    other=0,
    status=10,
    backoff_factor=0.2,
    status_forcelist=[503],
    allowed_methods=None,
)
# SQLite that is busy is a 503 with Retry-After: clients of Prefect ask again. Each asks on a connection of its own, because the
# server may close an idle one just when it is used again
ALONE = {"Connection": "close"}
# what a server that `retrain up` starts wants beside the password, against forgery: by the server's address
TOKENS: dict[str, dict[str, str]] = {}
PATIENT = urllib3.PoolManager(retries=BUSY, timeout=PATIENCE)


@contextmanager
def prefect_server(home: Path, password: str | None = None) -> Iterator[str]:
    """Start a server with its database in `home`; yield the URL of its API, and end it by its process id.

    With a password it stands behind the door that `retrain up` puts before it.
    """
    server, url = _start(home, password, ())
    try:
        _wait_for(url + "/health", server)
        yield url
    finally:
        end(server)


def lasting_server(home: Path, pid: int) -> str:
    """Start a server that lasts for as long as the process `pid` does; return the URL of its API."""
    server, url = _start(home, None, (sys.executable, "-m", "tests.support.until_gone", str(pid)))
    _wait_for(url + "/health", server)
    return url


def _start(home: Path, password: str | None, before: tuple[str, ...]) -> tuple[subprocess.Popen[bytes], str]:
    port = free_port()
    env = {**os.environ, "PREFECT_HOME": str(home), "PREFECT_SERVER_ANALYTICS_ENABLED": "false"}
    command = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    url = f"http://127.0.0.1:{port}/api"
    if password:
        command = [sys.executable, "-m", "flows.server.guard"]
        env |= {"PREFECT_SERVER_API_HOST": "127.0.0.1", "PREFECT_SERVER_API_PORT": str(port)}
        env |= {"PREFECT_SERVER_API_AUTH_STRING": password}
        protect(env, url)
    home.mkdir(parents=True, exist_ok=True)
    with (home / "server.log").open("w") as log:
        server = subprocess.Popen(
            [*before, *command], cwd=ROOT, env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
    return server, url


def _wait_for(url: str, server: subprocess.Popen[bytes]) -> None:
    def answers() -> bool:
        assert server.poll() is None, "the Prefect server ended while starting"
        try:
            with urllib.request.urlopen(url, timeout=PATIENCE):
                return True
        except (urllib.error.URLError, TimeoutError, ConnectionError):
            return False

    until(answers)


def request(
    api: str, path: str, data: Any = None, method: str | None = None, password: str | None = None
) -> Any:
    """Ask the server's API, patiently, and return its answer."""
    headers = {"Authorization": f"Basic {b64encode(password.encode()).decode()}"} if password else {}
    headers |= ALONE | TOKENS.get(api, {})
    body = {} if data is None else {"json": data}
    method = method or ("GET" if data is None else "POST")
    answer = PATIENT.request(method, f"{api}/{path}", headers=headers, **body)
    if answer.status == 403 and b"CSRF" in answer.data:
        token = PATIENT.request("GET", f"{api}/csrf-token?client=tests", headers=headers).json()["token"]
        TOKENS[api] = {"Prefect-Csrf-Token": token, "Prefect-Csrf-Client": "tests"}
        answer = PATIENT.request(method, f"{api}/{path}", headers=headers | TOKENS[api], **body)
    assert answer.status < 400, f"{path}: {answer.status} {answer.data.decode()[:500]}"
    return answer.json() if answer.data else None


def ask(server: str, path: str, **query: Any) -> Any:
    """POST a filter to the server's API and return what it answers."""
    return request(server, path, query)


def flow_run(server: str, output: str) -> dict[str, Any]:
    """Return the flow run that a command's output names."""
    named = re.search(r"Flow run '([\w-]+)'", output)
    assert named is not None, output
    (run,) = ask(
        server, "flow_runs/filter", flow_runs={"name": {"any_": [named[1]]}}, sort="START_TIME_DESC", limit=1
    )
    return dict(run)


def task_states(server: str, run: str, password: str | None = None) -> dict[str, str]:
    """Return the states of a run's tasks by their names; the server learns of them later than of the run."""

    def found() -> list[dict[str, Any]] | None:
        asked = {"flow_runs": {"id": {"any_": [run]}}}
        tasks: list[dict[str, Any]] = request(server, "task_runs/filter", asked, password=password)
        ended = [task for task in tasks if task["state_type"] not in ("PENDING", "RUNNING")]
        return tasks if len(ended) == len(tasks) >= len(STAGES) else None

    return {task["name"]: task["state_name"] for task in until(found)}


def artifacts(server: str, run: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the artifacts of a flow run by their kinds: their keys without what makes them this run's own."""
    found = ask(server, "artifacts/filter", flow_runs={"id": {"any_": [run["id"]]}})
    return {kind(artifact["key"], run["id"]): artifact for artifact in found}


def kind(key: str, run: str) -> str:
    """Return an artifact's key without the run's name and the first part of its id."""
    return re.sub(rf"-[a-z0-9-]*{run[:8]}$", "", key)
