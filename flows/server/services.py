"""`make up`: a Prefect server, process workers and all deployments on this machine; `make down` ends them.

Everything is kept in the repository's ignored folder: the server's database in `.retrain/prefect`, logs in
`.retrain/logs`, and in `.retrain/services` which processes were started. Settings that stand in the
environment win over those chosen here.
"""

import contextlib
import http.client
import os
import signal
import subprocess
import sys
import time
import urllib.request
from contextlib import AbstractContextManager
from pathlib import Path

import psutil

from flows.server import configured, connection, password, pid_files
from flows.server.guard import ANYWHERE, PRIVATE, protect
from tasks.shared.errors import InputError
from tasks.shared.files import for_owner, private_folder
from tasks.shared.locks import alone
from tasks.shared.say import Say

POOL = "retrain"
PREFECT = (sys.executable, "-m", "prefect", "--no-prompt")
WORKER = (sys.executable, "-m", "flows.server.worker", "--no-prompt")
# seconds for a service to answer
PATIENCE = 120.0
# seconds for a service to end by itself: a worker lets training keep a checkpoint first
GRACE = 40.0
SETTINGS = {
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
    # slots outlive the server
    "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect.server.concurrency.lease_storage.filesystem",
    # a slot is free a minute after whoever held it is gone
    "PREFECT_SERVER_CONCURRENCY_INITIAL_DEPLOYMENT_LEASE_DURATION": "60",
    # SQLite lets one write at a time: wait instead of "database is locked"
    "PREFECT_SERVER_DATABASE_TIMEOUT": "60",
    # the least that Prefect allows
    "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30",
    "PREFECT_WORKER_HEARTBEAT_SECONDS": "10",
    "PREFECT_WORKER_QUERY_SECONDS": "5",
    "PREFECT_RESULTS_PERSIST_BY_DEFAULT": "false",
}
WHAT_TO_CLICK = """
Prefect is up: {url}
  Deployments, retrain/manual, Run: start a run with any params
  Runs: what is running, with its log, progress and report
  Deployments, retrain/nightly: the schedule, which can be paused there
Logs: {logs}. To end it all: make down
Commands in another shell: export PREFECT_API_URL={url}/api{password}"""


def up(checkout: Path, say: Say, *, host: str, port: int, workers: int, limit: int) -> str:
    """Start what is not running yet and register all deployments and automations.

    Return the URL of the UI once everything answers.
    With PREFECT_API_URL set to a server elsewhere, that one is used, and only workers are started here.
    Raises InputError when a service does not come up, with the end of its log.
    """
    _refuse_open_host(host)
    os.environ.setdefault("PREFECT_HOME", str(checkout / ".retrain" / "prefect"))
    # Prefect cannot be imported with broken ones
    configured.profile()
    with _alone(checkout, say):
        api, env = _server(checkout, say, host, port)
        # before Prefect is imported, which reads it once, and takes as long as the server takes to start
        os.environ.update(env)
        from flows.server import automations, recovery, work_pools

        _wait_for_server(checkout, api, env)
        work_pools.make(POOL)
        recovery.crash_dead_runs(POOL, say)
        names = _start_workers(checkout, say, env, workers, limit)
        say("registering the deployments ...")
        _deploy(checkout, env)
        automations.register(POOL, say)
        recovery.restart_crashed_runs(say)
        work_pools.wait_for_workers(POOL, names, PATIENCE)
        return api.removesuffix("/api")


def down(checkout: Path, say: Say) -> None:
    """End the services that `up` has started in this checkout, workers first, and nothing else.

    Their runs keep a checkpoint.
    """
    with _alone(checkout, say):
        files = {file.stem: file for file in pid_files.folder(checkout).glob("*.json")}
        processes = {service: pid_files.process(file) for service, file in files.items()}
        server = processes.pop("server", None)
        for worker in filter(None, processes.values()):
            # its runs first: a worker that ends kills them before they could keep a checkpoint
            _end(say, *worker.children())
            _end(say, worker)
        if server is not None:
            _end(say, server)
        for file in files.values():
            file.unlink()
        if not files:
            say("nothing was started here")


def logs(checkout: Path) -> Path:
    """Return the folder of the services' logs."""
    return checkout / ".retrain" / "logs"


def what_to_click(checkout: Path, url: str) -> str:
    """Return what to tell a user once everything is up."""
    shown = ""
    if password.read(checkout) == os.environ.get("PREFECT_API_AUTH_STRING", ""):
        shown = f' PREFECT_API_AUTH_STRING="$(cat {os.path.relpath(password.file_of(checkout))})"'
    return WHAT_TO_CLICK.format(url=url, logs=os.path.relpath(logs(checkout)), password=shown)


def api_at(host: str, port: int) -> str:
    """Return the address at which this machine reaches a server that listens so."""
    name = "127.0.0.1" if host in ANYWHERE else f"[{host}]" if ":" in host else host
    return f"http://{name}:{port}/api"


def environment(api: str, secret: str | None) -> dict[str, str]:
    """Return the environment of the services: the user's own, then what `make up` chooses."""
    env = {**SETTINGS, **os.environ, "PREFECT_API_URL": api}
    # where the UI looks for the server: it knows only port 4200 by itself
    env.setdefault("PREFECT_SERVER_UI_API_URL", api)
    # for links: without /v2 they open the older UI
    env.setdefault("PREFECT_UI_URL", f"{api.removesuffix('/api')}/v2")
    # so that a run finds dvc and python
    env["PATH"] = f"{Path(sys.executable).parent}:{env['PATH']}"
    if secret:
        env.setdefault("PREFECT_SERVER_API_AUTH_STRING", secret)
        env.setdefault("PREFECT_API_AUTH_STRING", secret)
    return env


def _alone(checkout: Path, say: Say) -> AbstractContextManager[None]:
    lock = pid_files.folder(checkout) / "lock"
    return alone(lock, lambda who: say(f"waiting for another `make up` or `make down` ({who})"))


def _refuse_open_host(host: str) -> None:
    if host not in connection.LOOPBACK and not os.environ.get("PREFECT_SERVER_API_AUTH_STRING"):
        first = "set a password first that is known there too, PREFECT_SERVER_API_AUTH_STRING=user:password"
        raise InputError(f"--host {host} can be reached from elsewhere: {first}")


def _server(checkout: Path, say: Say, host: str, port: int) -> tuple[str, dict[str, str]]:
    """Return the address of the server and the environment of what talks to it.

    It runs here, is started now, or is elsewhere.
    """
    mine = api_at(host, port)
    running = pid_files.running_server(checkout)
    api = running or os.environ.get("PREFECT_API_URL", mine)
    if api == mine:
        connection.past_proxies(host)
    if running:
        return api, environment(api, _given_password() or password.read(checkout))
    if api != mine:
        env = environment(api, _given_password())
        connection.check(api, env, ", or `unset PREFECT_API_URL` to start one here")
        return api, env
    _refuse_taken_port(api, host, port)
    env = environment(api, _given_password() or password.make(checkout, say))
    protect(env, api)
    say("starting the Prefect server ...")
    there = {"PREFECT_SERVER_API_HOST": host, "PREFECT_SERVER_API_PORT": str(port)}
    _start(checkout, "server", [sys.executable, "-m", "flows.server.guard"], env | there, api=api)
    return api, env


def _given_password() -> str | None:
    return os.environ.get("PREFECT_SERVER_API_AUTH_STRING") or os.environ.get("PREFECT_API_AUTH_STRING")


def _start_workers(checkout: Path, say: Say, env: dict[str, str], workers: int, limit: int) -> list[str]:
    """Start those workers that do not run yet; return the names of all."""
    names = []
    for number in range(1, workers + 1):
        service, name = f"worker-{number}", f"{os.uname().nodename}-{number}"
        names.append(name)
        if not pid_files.is_running(checkout, service):
            say(f"starting {service} ...")
            command = [*WORKER, "worker", "start", "--pool", POOL, "--name", name, "--limit", str(limit)]
            _start(checkout, service, command, env)
    return names


def _start(checkout: Path, service: str, command: list[str], env: dict[str, str], **record: str) -> None:
    """Start a service in a session of its own, its output in its log, and write down which process it is."""
    # a shell's background jobs ignore it and would hand that on; workers end by it
    signal.signal(signal.SIGINT, signal.default_int_handler)
    private_folder(checkout / ".retrain")
    logs(checkout).mkdir(exist_ok=True)
    with open(logs(checkout) / f"{service}.log", "ab", opener=for_owner) as log:
        process = subprocess.Popen(  # noqa: S603 (our own interpreter, no shell)
            command,
            cwd=checkout,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            # what workers make is to be read by whom their user's own umask says
            umask=PRIVATE if service == "server" else -1,
        )
    pid_files.write(checkout, service, process.pid, **record)


def _end(say: Say, *processes: psutil.Process) -> None:
    """End processes, by force when they take too long."""
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            say(f"ending {' '.join(process.cmdline()[2:5])} (process {process.pid})")
            process.terminate()
    _, left = psutil.wait_procs(processes, GRACE)
    for process in left:
        say(f"process {process.pid} did not end within {GRACE:.0f} s: killed")
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(left)


def _refuse_taken_port(api: str, host: str, port: int) -> None:
    # also where something speaks that is no HTTP server
    with contextlib.suppress(OSError, http.client.HTTPException):
        urllib.request.urlopen(f"{api}/health", timeout=2)  # noqa: S310
        other = f"use it with PREFECT_API_URL={api}, or choose another port with --port"
        raise InputError(f"another Prefect server answers at {api}; {other}")
    listening = [c.laddr for c in psutil.net_connections("tcp") if c.status == psutil.CONN_LISTEN]
    if any(address.port == port and address.ip in (host, *ANYWHERE) for address in listening):
        raise InputError(f"port {port} of {host} is taken by another program; choose another with --port")


def _wait_for_server(checkout: Path, api: str, env: dict[str, str]) -> None:
    """Wait until the server that is starting here answers; one that runs already is not waited for.

    Raises InputError when it ends, refuses us, or takes too long.
    """
    end = time.monotonic() + PATIENCE
    log = logs(checkout) / "server.log"
    ours = (pid_files.folder(checkout) / "server.json").exists()
    while True:
        try:
            return connection.check(api, env)
        except connection.NoAnswerError:
            if not ours:
                raise
        if not pid_files.is_running(checkout, "server"):
            raise InputError(f"the Prefect server ended while starting: {_end_of(log)}")
        if time.monotonic() > end:
            raise InputError(f"no Prefect server answers at {api} after {PATIENCE:.0f} s; see {log}")
        time.sleep(0.3)


def _deploy(checkout: Path, env: dict[str, str]) -> None:
    log = logs(checkout) / "deploy.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w") as output:
        command = [*PREFECT, "deploy", "--all"]
        done = subprocess.run(command, cwd=checkout, env=env, stdout=output, stderr=output, check=False)  # noqa: S603
    if done.returncode:
        raise InputError(f"`prefect deploy --all` failed: {_end_of(log)}")


def _end_of(log: Path) -> str:
    lines = [line.strip() for line in log.read_text("utf-8", errors="replace").splitlines() if line.strip()]
    return f"{' / '.join(lines[-3:])} (all of it in {log})"
