"""Who gets past the door of the Prefect server: the right password, by the server's own name, from its own pages."""

import asyncio
import shutil
import subprocess
import sys
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import urllib3
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus
from websockets.typing import Subprotocol

from flows.server import password
from flows.server.guard import Guard, protect
from tests.support.project import ROOT, environment
from tests.support.server import prefect_server

PASSWORD = "retrain:open-sesame"  # noqa: S105
RIGHT = f"Basic {b64encode(PASSWORD.encode()).decode()}"
WRONG = [
    "",
    "Basic",
    "Basic !",
    "Basic cmV0cmFpbjp3cm9uZw==",
    f"basic {RIGHT[6:]}",
    f"Bearer {PASSWORD}",
    "Basic w7w6w7w=",
    RIGHT[:-2],
]


async def nothing(*_: object) -> None:
    """Be the application behind the door."""


def refused(
    path: str = "/api/flows/filter", method: str = "POST", kind: str = "http", **headers: str
) -> int | None:
    """Return the status with which a request to a server at 127.0.0.1:4200 is refused."""
    given = {"host": "127.0.0.1:4200", "authorization": RIGHT, **headers}
    raw = [(name.replace("_", "-").encode(), value.encode()) for name, value in given.items()]
    scope = {"type": kind, "path": path, "method": method, "headers": raw, "server": ("127.0.0.1", 4200)}
    door = Guard(
        nothing,
        frozenset({"localhost", "box", "prefect.example.org"}),
        frozenset({"http://box:4200"}),
        PASSWORD,
    )
    found = door.refusal(scope)
    return None if found is None else int(found[0])


@pytest.mark.parametrize(
    "host", ["127.0.0.1:4200", "127.0.0.1", "LOCALHOST:4200", "box:81", "prefect.example.org"]
)
def test_a_server_is_called_by_its_own_names_and_the_address_that_is_connected_to(host: str) -> None:
    assert refused(host=host) is None


@pytest.mark.parametrize(
    "host",
    ["", "evil.example", "evil.example:4200", "127.0.0.1.evil.example", "127.0.0.1@evil.example", "box@127.0.0.1", "localhost.",
     "0.0.0.0:4200", "[::]:4200", "10.0.0.1", "box:4200/", "box:x", " box", "xbox", "[box", "böx"],
)  # fmt: skip
@pytest.mark.parametrize("kind", ["http", "websocket"])
def test_a_name_that_only_leads_here_is_refused(kind: str, host: str) -> None:
    assert refused(kind=kind, host=host) == 421
    assert refused("/api/health", "GET", kind, host=host) == 421
    assert refused("/v2/", "GET", kind, host=host) == 421


@pytest.mark.parametrize(
    "origin", ["http://127.0.0.1:4200", "https://127.0.0.1:4200", "http://box:4200", "HTTP://BOX:4200"]
)
def test_the_servers_own_pages_may_ask_it(origin: str) -> None:
    assert refused(origin=origin) is None


@pytest.mark.parametrize(
    "origin",
    [
        "http://evil.example",
        "http://127.0.0.1:9999",
        "http://127.0.0.1",
        "null",
        "",
        "http://box:4201",
        "file://",
        "127.0.0.1:4200",
    ],
)
@pytest.mark.parametrize("kind", ["http", "websocket"])
def test_pages_of_other_addresses_may_not(kind: str, origin: str) -> None:
    assert refused(kind=kind, origin=origin) == 403


@pytest.mark.parametrize("where", ["iframe", "frame", "object", "embed"])
def test_the_ui_is_not_shown_inside_another_page(where: str) -> None:
    assert refused("/v2/", "GET", sec_fetch_dest=where) == 403
    assert refused("/v2/", "GET", sec_fetch_dest="document") is None


@pytest.mark.parametrize("given", WRONG)
def test_without_the_right_password_the_api_tells_its_health_and_no_more(given: str) -> None:
    for path, method in (("/api/flows/filter", "POST"), ("/api", "GET"), ("/api/admin/settings", "GET"), ("/api/health", "POST"),
                         ("/api/variables/name/health", "GET"), ("/api/health/", "GET"), ("/api//health", "GET")):  # fmt: skip
        assert refused(path, method, authorization=given) == 401
    assert refused("/api/health", "GET", authorization=given) is None
    assert refused("/v2/", "GET", authorization=given) is None, (
        "the UI's own files, which ask for the password"
    )


def test_a_second_name_or_password_is_not_the_one_that_counts() -> None:
    door = Guard(nothing, frozenset({"box"}), frozenset(), PASSWORD)
    headers = [(b"host", b"box"), (b"authorization", RIGHT.encode())]
    scope = {"type": "http", "path": "/api/flows/filter", "method": "POST", "headers": headers}
    assert door.refusal(scope) is None
    assert door.refusal({**scope, "headers": [*headers, (b"host", b"evil.example")]})
    assert door.refusal({**scope, "headers": [*headers, (b"authorization", b"Basic x")]})
    assert door.refusal({**scope, "headers": []})


def test_a_server_without_a_password_is_not_started(tmp_path: Path) -> None:
    env = {**environment(tmp_path), "PREFECT_HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-m", "flows.server.guard"],
        cwd=ROOT,
        env=env,
        text=True,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 1
    assert (
        done.stderr.splitlines()[-1]
        == "error: the server has no password; set PREFECT_SERVER_API_AUTH_STRING=user:password"
    )


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory, prefect_home: Path) -> Iterator[str]:
    """The API URL of a real server behind the door."""
    with prefect_server(
        shutil.copytree(prefect_home, tmp_path_factory.mktemp("door") / "home"), PASSWORD
    ) as url:
        yield url


def answer(url: str, method: str = "POST", **headers: str) -> urllib3.BaseHTTPResponse:
    """Ask a server, and return what it answers."""
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    return urllib3.request(method, url, headers=given, json={} if method == "POST" else None, redirect=False)


def test_a_real_server_refuses_all_but_the_right_password_by_its_own_name_from_its_own_page(
    door: str,
) -> None:
    runs, version = f"{door}/flow_runs/filter", f"{door}/admin/version"
    assert answer(version, "GET", Authorization=RIGHT).status == 200
    assert answer(version, "GET", Authorization=RIGHT, Origin=door.removesuffix("/api")).status == 200
    assert answer(f"{door}/health", "GET").status == 200
    assert answer(runs).status == answer(version, "GET", Authorization=WRONG[3]).status == 401
    assert answer(version, "GET", Authorization=RIGHT, Host="evil.example").status == 421
    elsewhere = answer(version, "GET", Authorization=RIGHT, Origin="http://evil.example")
    assert elsewhere.status == 403
    before = {"Access_Control_Request_Method": "POST", "Access_Control_Request_Headers": "authorization"}
    asked = answer(runs, "OPTIONS", Origin="http://evil.example", **before)
    assert asked.status == 403
    assert not [
        name for name in {*elsewhere.headers, *asked.headers} if name.lower().startswith("access-control")
    ]
    assert b"CSRF" in answer(runs, Authorization=RIGHT).data, (
        "a browser needs a token against forgery beside the password"
    )


def test_a_websocket_opens_by_the_servers_own_name_from_its_own_page_and_with_the_password(door: str) -> None:
    url = f"{door.replace('http', 'ws')}/events/out"

    async def opened(token: str, **headers: str) -> str:
        async with connect(url, subprotocols=[Subprotocol("prefect")], additional_headers=headers) as socket:
            await socket.send(f'{{"type": "auth", "token": "{token}"}}')
            return str(await socket.recv())

    assert "auth_success" in asyncio.run(opened(PASSWORD))
    with pytest.raises(Exception, match="Invalid token"):
        asyncio.run(opened("retrain:wrong"))
    with pytest.raises(InvalidStatus, match="403"):
        asyncio.run(opened(PASSWORD, Origin="http://evil.example"))


def test_no_process_shows_the_password_of_a_server_on_its_command_line(door: str) -> None:
    lines = [" ".join(process.info["cmdline"] or ()) for process in psutil.process_iter(["cmdline"])]
    assert any("flows.server.guard" in line for line in lines)
    assert not [line for line in lines if "open-sesame" in line]


TEMPORARY = """
import os, urllib.error, urllib.request
from pathlib import Path
from flows.server import connection, temporary
import psutil
temporary.wait(temporary.start(Path.cwd()))
api, secret = os.environ["PREFECT_API_URL"], os.environ["PREFECT_API_AUTH_STRING"]
connection.check(api, os.environ)
for headers in ({}, {"Host": "evil.example"}, {"Origin": "http://evil.example"}):
    try:
        urllib.request.urlopen(urllib.request.Request(f"{api}/admin/version", headers=headers))
        print("let in")
    except urllib.error.HTTPError as error:
        print(error.code)
print(any(secret in word for process in psutil.process_iter(["cmdline"]) for word in process.info["cmdline"] or ()))
print(secret)
"""


@pytest.mark.slow
def test_the_server_of_a_single_command_has_a_password_of_its_own_that_is_kept_nowhere(
    tmp_path: Path, prefect_home: Path
) -> None:
    home = shutil.copytree(prefect_home, tmp_path / "home")
    env = {**environment(tmp_path), "PYTHONPATH": str(ROOT), "PREFECT_HOME": str(home)}
    env |= {"PREFECT_SERVER_API_AUTH_STRING": "me:known", "PREFECT_API_AUTH_STRING": "me:other"}
    done = subprocess.run(
        [sys.executable, "-c", TEMPORARY], cwd=tmp_path, env=env, text=True, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr
    *said, secret = done.stdout.split()
    assert said == ["401", "421", "403", "False"]
    assert secret.startswith("retrain:")
    assert len(secret) > 30
    kept = [file for file in tmp_path.rglob("*") if file.is_file() and secret.encode() in file.read_bytes()]
    assert kept == []


# what `make up` makes


def test_a_password_is_made_once_told_once_and_read_by_nobody_else(tmp_path: Path) -> None:
    (tmp_path / ".retrain").mkdir()
    told: list[str] = []
    assert password.read(tmp_path) is None
    made = password.make(tmp_path, told.append)
    file = tmp_path / ".retrain/password"
    assert password.read(tmp_path) == made == file.read_text("utf-8").strip()
    assert file.stat().st_mode & 0o777 == 0o600
    (sentence,) = told
    assert made in sentence
    assert ".retrain/password" in sentence
    file.chmod(0o644)
    assert password.make(tmp_path, told.append) == made
    assert len(told) == 1
    assert file.stat().st_mode & 0o777 == 0o600
    assert [entry.name for entry in file.parent.iterdir()] == ["password"]


def test_the_users_own_settings_win_by_either_of_their_names() -> None:
    env: dict[str, str] = {}
    protect(env, "http://127.0.0.1:4200/api")
    assert env == {
        "PREFECT_SERVER_API_CORS_ALLOWED_ORIGINS": "http://127.0.0.1:4200,http://localhost:4200",
        "PREFECT_SERVER_API_CSRF_PROTECTION_ENABLED": "true",
    }
    env = {
        "PREFECT_SERVER_CORS_ALLOWED_ORIGINS": "https://a.b",
        "PREFECT_SERVER_API_CSRF_PROTECTION_ENABLED": "false",
    }
    protect(env, "http://127.0.0.1:4200/api")
    assert len(env) == 2
