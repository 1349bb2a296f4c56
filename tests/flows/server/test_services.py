"""`make up` and `make down`: one command, twice harmless, nothing left; and what it takes to guard and to end what it started."""

import json
import shutil
from pathlib import Path
from socketserver import BaseRequestHandler, ThreadingTCPServer
from threading import Thread

import psutil
import pytest
from cyclopts import CycloptsError

from flows.cli.app import app
from flows.server import services
from tasks.shared.errors import InputError
from tests.support.project import Project
from tests.support.site import up

DEPLOYMENTS = {
    *("manual", "nightly", "on-new-data", "every-five-minutes"),
    *("promote", "rollback", "seeds", "sweep", "reproduce"),
}


def pids(project: Project) -> dict[str, int]:
    return {
        file.stem: json.loads(file.read_text("utf-8"))["pid"]
        for file in (project.root / ".retrain/services").glob("*.json")
    }


@pytest.mark.slow
def test_up_twice_starts_once_and_down_ends_exactly_that(trained: Project) -> None:
    project = trained
    # as on a fresh machine
    shutil.rmtree(project.root / ".retrain/prefect")
    with up(project, schedules=True) as site:
        first = pids(project)
        assert set(first) == {"server", "worker-1"}
        found = {deployment["name"]: deployment for deployment in site.request("deployments/filter", {})}
        assert set(found) == DEPLOYMENTS
        assert all(
            deployment["description"] and deployment["version"] and "retrain" in deployment["tags"]
            for deployment in found.values()
        )
        schedule = found["nightly"]["schedules"][0]
        assert schedule["schedule"] == {"cron": "0 2 * * *", "timezone": "Etc/UTC", "day_or": True}
        assert schedule["active"]

        password = project.root / ".retrain/password"
        assert password.stat().st_mode & 0o777 == 0o600
        assert site.password.startswith("retrain:")
        secret = site.password.partition(":")[2]
        assert len(secret) >= 32

        assert "7 of 7 stages cached" in project.retrain().stdout
        project.env["PREFECT_API_URL"] = f"{site.url}/api"
        assert "7 of 7 stages cached" in project.retrain().stdout, (
            "our own server's password is known by its address too"
        )
        del project.env["PREFECT_API_URL"]
        assert [run["state_name"] for run in site.runs() if run["deployment_id"] is None] == [
            "Completed"
        ] * 2, "`retrain run` stands in the UI"

        defaults = (project.root / "params.yaml").read_text("utf-8")
        (project.root / "params.yaml").write_text(
            defaults.replace("learning_rate: 0.0002", "learning_rate: 0.0007"), encoding="utf-8"
        )
        again = site.up_again("--workers", "2")
        assert site.url in again.stdout
        assert secret not in again.stdout + again.stderr, "the password is told once"
        commands = [" ".join(process.info["cmdline"] or ()) for process in psutil.process_iter(["cmdline"])]
        assert not [command for command in commands if secret in command], "`ps` shows it to nobody"
        assert first.items() < pids(project).items(), "what was running goes on running"
        assert set(pids(project)) == {"server", "worker-1", "worker-2"}
        schema = site.request("deployments/name/retrain/manual")["parameter_openapi_schema"]
        rate = schema["definitions"]["Train"]["properties"]["learning_rate"]
        assert "params.yaml: 0.0007." in rate["description"], "what is left empty is told as it stands now"
        assert len(site.request("automations/filter", {})) == 3, "automations are made once"
        running = [*pids(project).values()]
    assert not any(psutil.pid_exists(pid) for pid in running)
    assert pids(project) == {}
    files = [file for file in (project.root / ".retrain").rglob("*") if file.is_file() and file != password]
    assert not [file for file in files if secret.encode() in file.read_bytes()], "it is kept in one place"
    assert "nothing was started here" in project.retrain(command="down").stderr


def test_the_server_is_not_opened_to_others_without_a_password(project: Project) -> None:
    assert "set a password first" in project.retrain("--host", "0.0.0.0", command="up", status=2).stderr  # noqa: S104


def test_another_program_on_the_port_is_named_and_left_alone(project: Project, server: str) -> None:
    port = server.removesuffix("/api").rpartition(":")[2]
    assert (
        f"another Prefect server answers at {server}"
        in project.retrain("--port", port, command="up", status=2).stderr
    )


def test_a_program_on_the_port_that_speaks_something_else_is_named_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Redis(BaseRequestHandler):
        def handle(self) -> None:
            self.request.recv(100)
            self.request.sendall(b"-ERR unknown command\r\n")

    monkeypatch.setenv("PREFECT_HOME", str(tmp_path))
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    with ThreadingTCPServer(("127.0.0.1", 0), Redis) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        port = server.server_address[1]
        with pytest.raises(InputError, match=f"^port {port} of 127[.]0[.]0[.]1 is taken by another program"):
            services.up(tmp_path, print, host="127.0.0.1", port=port, workers=1, limit=4)
        server.shutdown()


def test_an_address_elsewhere_that_is_none_is_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path))
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:99999/api")
    with pytest.raises(
        InputError, match=r"'http://127\.0\.0\.1:99999/api' is no address of a Prefect server"
    ):
        services.up(tmp_path, print, host="127.0.0.1", port=4200, workers=1, limit=4)


def test_an_address_of_ipv6_stands_in_brackets() -> None:
    assert services.api_at("::1", 4200) == "http://[::1]:4200/api"
    assert services.api_at("::", 4200) == services.api_at("127.0.0.1", 4200) == "http://127.0.0.1:4200/api"


@pytest.mark.parametrize("options", ["--port 99999", "--port 0", "--workers -1", "--limit 0"])
def test_a_number_of_which_nothing_can_be_started_is_refused(options: str) -> None:
    option, value = options.split()
    with pytest.raises(CycloptsError, match=f'"{value}" for {option}. Must be'):
        app(["up", option, value], exit_on_error=False, print_error=False)
