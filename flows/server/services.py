"""`make up`: a Prefect server, process workers and all deployments on this machine; `make down` ends exactly those.

Everything is kept in the repository's ignored folder: the server's database in `.retrain/prefect`, logs in `.retrain/logs`, and in
`.retrain/services` which processes were started. Settings that stand in the environment win over those chosen here.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

import psutil

from flows.server import connection, prefect_api
from flows.server.guard import ANYWHERE
from tasks.shared.errors import InputError
from tasks.shared.files import for_owner, private_folder, replace
from tasks.shared.locks import alone

POOL = "retrain"
PREFECT = (sys.executable, "-m", "prefect", "--no-prompt")
PATIENCE = 120.0  # seconds for a service to answer
GRACE = 40.0  # seconds for a service to end by itself: a worker lets training keep a checkpoint first
SETTINGS = {
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
    "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect.server.concurrency.lease_storage.filesystem",  # slots outlive the server
    "PREFECT_SERVER_CONCURRENCY_INITIAL_DEPLOYMENT_LEASE_DURATION": "60",  # a slot is free a minute after whoever held it is gone
    "PREFECT_SERVER_DATABASE_TIMEOUT": "60",  # SQLite lets one write at a time: wait instead of "database is locked"
    "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30",  # the least that Prefect allows
    "PREFECT_WORKER_HEARTBEAT_SECONDS": "10",
    "PREFECT_WORKER_QUERY_SECONDS": "5",
    "PREFECT_RESULTS_PERSIST_BY_DEFAULT": "false",
}
Say = Callable[[str], None]
WHAT_TO_CLICK = """
Prefect is up: {url}
  Deployments, retrain/manual, Run: start a run with any params
  Runs: what is running, with its log, progress and report
  Deployments, retrain/nightly: the schedule, which can be paused there
Logs: {logs}. To end it all: make down
Commands in another shell: export PREFECT_API_URL={url}/api{password}"""


def up(checkout: Path, say: Say, *, host: str, port: int, workers: int, limit: int) -> str:
    """Start what is not running yet, register all deployments and automations; return the URL of the UI once everything answers.

    With PREFECT_API_URL set to a server elsewhere, that one is used, and only workers are started here.
    Raises InputError when a service does not come up, with the end of its log.
    """
    _refuse_open_host(host)
    with alone(prefect_api.records(checkout) / "lock", lambda who: say(f"waiting for another `make up` or `make down` ({who})")):
        mine = f"http://{'127.0.0.1' if host in ANYWHERE else host}:{port}/api"
        api = prefect_api.running(checkout) or os.environ.get("PREFECT_API_URL", mine)
        if api == mine:
            connection.past_proxies(host)
        if is_to_start := api == mine and not prefect_api.running(checkout):
            _refuse_taken_port(api, host, port)
        env = environment(checkout, api, _password(checkout, say, is_to_start=is_to_start))
        if is_to_start:
            say("starting the Prefect server ...")
            there = {"PREFECT_SERVER_API_HOST": host, "PREFECT_SERVER_API_PORT": str(port)}
            _start(checkout, "server", [sys.executable, "-m", "flows.server.guard"], env | there, api=api)
        elif not prefect_api.running(checkout):
            connection.check(api, env, ", or `unset PREFECT_API_URL` to start one here")
        os.environ.update(env)  # before Prefect is imported, which reads it once, and takes as long as the server takes to start
        from flows.server import automations, recovery

        _wait_for(checkout, api, env)
        automations.make_pool(POOL)
        recovery.end_dead(POOL, say)
        names = {f"worker-{number}": f"{os.uname().nodename}-{number}" for number in range(1, workers + 1)}
        for service, name in names.items():
            if not _alive(checkout, service):
                say(f"starting {service} ...")
                _start(checkout, service, [*PREFECT, "worker", "start", "--pool", POOL, "--name", name, "--limit", str(limit)], env)
        say("registering the deployments ...")
        _deploy(checkout, env)
        automations.register(POOL, say)
        recovery.go_on(say)
        automations.wait_for_workers(POOL, list(names.values()), PATIENCE)
        return api.removesuffix("/api")


def down(checkout: Path, say: Say) -> None:
    """End the services that `up` has started in this checkout, workers first, and nothing else. Their runs keep a checkpoint."""
    with alone(prefect_api.records(checkout) / "lock", lambda who: say(f"waiting for another `make up` or `make down` ({who})")):
        records = sorted(prefect_api.records(checkout).glob("*.json"), key=lambda file: file.stem == "server")
        for worker in filter(None, (prefect_api.process(file) for file in records if file.stem != "server")):
            _end(say, *worker.children())  # its runs first: a worker that ends kills them before they could keep a checkpoint
            _end(say, worker)
        _end(say, *filter(None, (prefect_api.process(file) for file in records if file.stem == "server")))
        for file in records:
            file.unlink()
        if not records:
            say("nothing was started here")


def _end(say: Say, *processes: psutil.Process) -> None:
    """End processes, by force when they take too long."""
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            say(f"ending {' '.join(process.cmdline()[2:5])} (process {process.pid})")
            process.terminate()
    _, left = psutil.wait_procs(processes, GRACE)
    for process in left:
        say(f"process {process.pid} did not end within {GRACE:.0f} s: killed")
        process.kill()
    psutil.wait_procs(left)


def logs(checkout: Path) -> Path:
    """Return the folder of the services' logs."""
    return checkout / ".retrain" / "logs"


def what_to_click(checkout: Path, url: str) -> str:
    """Return what to tell a user once everything is up."""
    password = ""
    if prefect_api.password(checkout) == os.environ.get("PREFECT_API_AUTH_STRING", ""):
        password = f' PREFECT_API_AUTH_STRING="$(cat {os.path.relpath(prefect_api.password_file(checkout))})"'
    return WHAT_TO_CLICK.format(url=url, logs=os.path.relpath(logs(checkout)), password=password)


def _refuse_open_host(host: str) -> None:
    if host not in connection.LOOPBACK and not os.environ.get("PREFECT_SERVER_API_AUTH_STRING"):
        first = "set a password first that is known there too, PREFECT_SERVER_API_AUTH_STRING=user:password"
        raise InputError(f"--host {host} can be reached from elsewhere: {first}")


def _password(checkout: Path, say: Say, *, is_to_start: bool) -> str | None:
    """Return the password of the server here: the user's, or the one that was made; None: it is elsewhere."""
    given = os.environ.get("PREFECT_SERVER_API_AUTH_STRING") or os.environ.get("PREFECT_API_AUTH_STRING")
    if given is None and is_to_start:
        return prefect_api.make_password(checkout, say)
    return given or (prefect_api.password(checkout) if prefect_api.running(checkout) else None)


def environment(checkout: Path, api: str, password: str | None) -> dict[str, str]:
    """Return the environment of the services: the user's own, then what `make up` chooses."""
    env = {"PREFECT_HOME": str(checkout / ".retrain" / "prefect"), **SETTINGS, **os.environ, "PREFECT_API_URL": api}
    env.setdefault("PREFECT_SERVER_UI_API_URL", api)  # where the UI looks for the server: it knows only port 4200 by itself
    env.setdefault("PREFECT_UI_URL", f"{api.removesuffix('/api')}/v2")  # for links: without /v2 they open the older UI
    env["PATH"] = f"{Path(sys.executable).parent}:{env['PATH']}"  # so that a run finds dvc and python
    if password:
        env.setdefault("PREFECT_SERVER_API_AUTH_STRING", password)
        env.setdefault("PREFECT_API_AUTH_STRING", password)
    prefect_api.protect(env, api)
    return env


def _start(checkout: Path, name: str, command: list[str], env: dict[str, str], **record: str) -> None:
    """Start a service in a session of its own, its output at the end of its log, and write down which process it is."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it and would hand that on; workers end by it
    private_folder(checkout / ".retrain")
    logs(checkout).mkdir(exist_ok=True)
    with open(logs(checkout) / f"{name}.log", "ab", opener=for_owner) as log:
        process = subprocess.Popen(  # noqa: S603 (our own interpreter, no shell)
            command,
            cwd=checkout,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            # what workers make is to be read by whom their user's own umask says
            umask=prefect_api.PRIVATE if name == "server" else -1,
        )
    created = psutil.Process(process.pid).create_time()
    replace(prefect_api.records(checkout) / f"{name}.json", json.dumps({"pid": process.pid, "created": created, **record}))


def _alive(checkout: Path, name: str) -> bool:
    file = prefect_api.records(checkout) / f"{name}.json"
    return file.exists() and prefect_api.process(file) is not None


def _refuse_taken_port(api: str, host: str, port: int) -> None:
    with contextlib.suppress(urllib.error.URLError, TimeoutError, ConnectionError):
        urllib.request.urlopen(f"{api}/health", timeout=2)  # noqa: S310
        raise InputError(f"another Prefect server answers at {api}; use it with PREFECT_API_URL={api}, or choose another port with --port")
    listening = [c.laddr for c in psutil.net_connections("tcp") if c.status == psutil.CONN_LISTEN]
    if any(address.port == port and address.ip in (host, *ANYWHERE) for address in listening):
        raise InputError(f"port {port} of {host} is taken by another program; choose another with --port")


def _wait_for(checkout: Path, api: str, env: dict[str, str]) -> None:
    """Wait until the server that is starting here answers; raise InputError when it ends, refuses us, or takes too long.

    One that was to be there already is not waited for.
    """
    end = time.monotonic() + PATIENCE
    log = logs(checkout) / "server.log"
    ours = (prefect_api.records(checkout) / "server.json").exists()
    while True:
        try:
            return connection.check(api, env)
        except connection.NoAnswerError:
            if not ours:
                raise
        if not _alive(checkout, "server"):
            raise InputError(f"the Prefect server ended while starting: {_end_of(log)}")
        if time.monotonic() > end:
            raise InputError(f"no Prefect server answers at {api} after {PATIENCE:.0f} s; see {log}")
        time.sleep(0.3)


def _deploy(checkout: Path, env: dict[str, str]) -> None:
    log = logs(checkout) / "deploy.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w") as output:
        done = subprocess.run([*PREFECT, "deploy", "--all"], cwd=checkout, env=env, stdout=output, stderr=output, check=False)  # noqa: S603
    if done.returncode:
        raise InputError(f"`prefect deploy --all` failed: {_end_of(log)}")


def _end_of(log: Path) -> str:
    lines = [line.strip() for line in log.read_text("utf-8", errors="replace").splitlines() if line.strip()]
    return f"{' / '.join(lines[-3:])} (all of it in {log})"
