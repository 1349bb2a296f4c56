"""A real Prefect server on loopback for the tests that talk to one, and what it tells of a run."""

import json
import os
import re
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def prefect_server(home: Path) -> Iterator[str]:
    """Start a server with its database in `home`; yield the URL of its API, and end it by its process id."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    env = {**os.environ, "PREFECT_HOME": str(home), "PREFECT_SERVER_ANALYTICS_ENABLED": "false"}
    command = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    home.mkdir(parents=True, exist_ok=True)
    with (home / "server.log").open("w") as log:
        server = subprocess.Popen(command, env=env, stdout=log, stderr=log)
    url = f"http://127.0.0.1:{port}/api"
    try:
        _wait_for(url + "/health", server)
        yield url
    finally:
        server.terminate()
        try:
            server.wait(20)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def _wait_for(url: str, server: subprocess.Popen[bytes]) -> None:
    for _ in range(600):
        assert server.poll() is None, "the Prefect server ended while starting"
        try:
            with urllib.request.urlopen(url, timeout=1):
                return
        except (urllib.error.URLError, TimeoutError, ConnectionError):
            time.sleep(0.1)
    raise TimeoutError(url)


def ask(server: str, path: str, **query: Any) -> Any:
    """POST a filter to the server's API and return what it answers."""
    request = urllib.request.Request(f"{server}/{path}", json.dumps(query).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


def flow_run(server: str, output: str) -> dict[str, Any]:
    """Return the flow run that a command's output names."""
    named = re.search(r"Flow run '([\w-]+)'", output)
    assert named is not None, output
    (run,) = ask(server, "flow_runs/filter", flow_runs={"name": {"any_": [named[1]]}}, sort="START_TIME_DESC", limit=1)
    return dict(run)


def artifacts(server: str, run: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the artifacts of a flow run by their keys."""
    found = ask(server, "artifacts/filter", flow_runs={"id": {"any_": [run["id"]]}})
    return {artifact["key"]: artifact for artifact in found}
