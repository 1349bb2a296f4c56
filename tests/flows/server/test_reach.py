"""A server that cannot be used is one sentence at once, and no proxy stands between this machine and itself."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from urllib.request import Request

import pytest

from flows.server import configured, connection
from tasks.shared.errors import InputError
from tests.support.errors import only_error
from tests.support.project import Project

PROXY_VARIABLES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in PROXY_VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@contextmanager
def answering(status: int, body: str = "", **headers: str) -> Iterator[tuple[str, list[str | None]]]:
    """Yield the address of an HTTP server that answers everything the same, and who it was told is asking."""
    asked: list[str | None] = []

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.headers["Authorization"])
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name.replace("_", "-"), value)
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Answer) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/api", asked
        server.shutdown()


# proxies


def test_without_a_proxy_the_environment_stays_as_it_is() -> None:
    before = dict(os.environ)
    connection.past_proxies()
    assert dict(os.environ) == before


@pytest.mark.parametrize("proxy", ["HTTP_PROXY", "https_proxy", "ALL_PROXY"])
@pytest.mark.parametrize(
    ("variable", "known", "then"),
    [
        (None, "", "127.0.0.1,localhost,::1"),
        ("NO_PROXY", "example.org, localhost", "example.org,localhost,127.0.0.1,::1"),
        ("no_proxy", "example.org", "example.org,127.0.0.1,localhost,::1"),
    ],
)
def test_loopback_is_added_to_what_the_user_keeps_from_his_proxy(
    monkeypatch: pytest.MonkeyPatch, proxy: str, variable: str | None, known: str, then: str
) -> None:
    monkeypatch.setenv(proxy, "http://192.0.2.1:3128")
    if variable:
        monkeypatch.setenv(variable, known)
    connection.past_proxies()
    assert os.environ["NO_PROXY"] == os.environ["no_proxy"] == then


def test_a_star_in_no_proxy_goes_on_to_mean_every_host(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://192.0.2.1:3128")
    monkeypatch.setenv("NO_PROXY", "*")
    connection.past_proxies()
    assert os.environ["NO_PROXY"] == "*"
    assert "no_proxy" not in os.environ


@pytest.mark.parametrize("proxy", ["socks4://127.0.0.1:1", "ftp://127.0.0.1:1"])
def test_a_proxy_that_prefects_client_does_not_know_is_named(
    monkeypatch: pytest.MonkeyPatch, proxy: str
) -> None:
    monkeypatch.setenv("ALL_PROXY", proxy)
    with pytest.raises(InputError, match=r"knows no proxies of this kind.*unset ALL_PROXY"):
        connection.check("http://127.0.0.1:1/api", {})


# servers


@pytest.mark.parametrize(
    "api",
    ["localhost:4200/api", "127.0.0.1", "ftp://127.0.0.1/api", "http://", "http://[::1/api", "http://h:port"],
)
def test_an_address_that_is_none_is_refused(api: str) -> None:
    with pytest.raises(InputError, match="is no address of a Prefect server; give one such as http"):
        connection.check(api, {})


def test_a_dead_server_is_found_out_at_once_and_its_password_not_repeated(nowhere: str) -> None:
    with pytest.raises(
        connection.NoAnswerError,
        match=r"no Prefect server answers at http://127.0.0.1:\d+/api \(Connection refused\)",
    ) as found:
        connection.check(f"{nowhere.replace('//', '//me:secret@')}/api", {})
    assert "secret" not in str(found.value)


def test_a_host_that_nobody_knows_is_one_sentence() -> None:
    with pytest.raises(
        connection.NoAnswerError, match=r"no Prefect server answers at http://nowhere.invalid/api"
    ):
        connection.check("http://nowhere.invalid/api", {})


def test_https_where_none_is_spoken_is_one_sentence() -> None:
    with answering(200) as (api, _), pytest.raises(InputError, match=r"https://127.0.0.1"):
        connection.check(api.replace("http:", "https:"), {})


@pytest.mark.parametrize("status", [401, 403])
def test_a_wrong_password_and_a_wrong_key_are_named(status: int) -> None:
    with answering(status) as (api, asked):
        with pytest.raises(
            InputError, match="refuses the password; set PREFECT_API_AUTH_STRING=user:password"
        ):
            connection.check(api, {"PREFECT_API_AUTH_STRING": "me:wrong"})
        with pytest.raises(InputError, match="refuses the key; set PREFECT_API_KEY"):
            connection.check(api, {"PREFECT_API_KEY": "wrong"})
    assert asked == ["Basic bWU6d3Jvbmc=", "Bearer wrong"]


@pytest.mark.parametrize(("status", "body"), [(404, "{}"), (200, "<html>"), (200, "{}")])
def test_an_address_without_api_at_its_end_is_told_so(status: int, body: str) -> None:
    with (
        answering(status, body) as (api, _),
        pytest.raises(InputError, match=r"no Prefect server's API.*with /api at the end"),
    ):
        connection.check(api, {})


def test_a_busy_server_is_one_that_answers_and_a_proxy_before_a_dead_one_is_not() -> None:
    with answering(200, '"3.9.1"') as (api, _):
        connection.check(api, {})
    with answering(503, Retry_After="1") as (api, _):
        connection.check(api, {})
    for status in (502, 503, 504):
        with answering(status) as (api, _), pytest.raises(connection.NoAnswerError, match=f"HTTP {status}"):
            connection.check(api, {})


@pytest.mark.parametrize(
    "settings",
    [
        {"PREFECT_API_AUTH_STRING": "me:secret"},
        {"PREFECT_API_KEY": "secret"},
        {"PREFECT_CLIENT_CUSTOM_HEADERS": '{"Authorization": "secret"}'},
    ],
)
def test_another_server_that_a_redirect_leads_to_is_told_no_secret(settings: dict[str, str]) -> None:
    with answering(200, '"3.9.1"') as (other, asked), answering(302, Location=other) as (api, first):
        connection.check(api, settings)
    assert first != [None]
    assert asked == [None]


@pytest.mark.parametrize(
    ("here", "there", "is_same"),
    [
        ("http://h/api", "http://h/api/", True),
        ("http://h/api", "https://h/api", True),
        ("https://h/api", "http://h/api", False),
        ("http://h:4200/api", "http://h:4201/api", False),
        ("https://h/api", "https://login.h/api", False),
    ],
)
def test_a_redirect_within_a_server_keeps_what_opens_it(here: str, there: str, is_same: bool) -> None:
    request = Request(here, headers={"X-Token": "secret"})
    following = connection.Redirects().redirect_request(request, None, 302, "Found", {}, there)
    assert following is not None
    assert following.has_header("X-token") == is_same


# commands


@pytest.mark.slow
def test_a_dead_server_stops_every_command_that_needs_it_and_no_other(trained: Project, nowhere: str) -> None:
    for api, says in (
        (
            f"{nowhere}/api",
            f"no Prefect server answers at {nowhere}/api (Connection refused); start it, or `unset PREFECT_API_URL`",
        ),
        ("127.0.0.1:4200", "'127.0.0.1:4200' is no address of a Prefect server"),
    ):
        trained.env["PREFECT_API_URL"] = api
        idle = trained.retrain()
        assert "7 of 7 stages cached" in idle.stdout
        assert (
            f"warning: there is nothing to do, and no server to tell so: {'' if 'no address' not in says else 'PREFECT_API_URL: '}{says}"
            in idle.stderr
        )
        before = (trained.root / "params.yaml").read_text("utf-8")
        for words in (["run", "--train.seed", "7"], ["run", "--isolated"], ["reproduce", "HEAD"], ["up"]):
            assert says in only_error(trained.retrain(*words[1:], command=words[0], status=2))
        assert (trained.root / "params.yaml").read_text("utf-8") == before


def test_a_profile_with_a_dead_server_says_how_to_leave_it(trained: Project, nowhere: str) -> None:
    profiles = trained.root / ".retrain/prefect/profiles.toml"
    profiles.write_text(f'active = "far"\n[profiles.far]\nPREFECT_API_URL = "{nowhere}/api"\n')
    done = trained.retrain("--isolated", status=2)
    remedy = "prefect config unset -y PREFECT_API_URL"
    assert f"`{remedy}` to run without one" in only_error(done)
    trained.run("python", "-m", *remedy.split())
    assert "PREFECT_API_URL" not in profiles.read_text("utf-8")


@pytest.mark.parametrize("text", [b"active = [", b"profiles = 3", b"active = []\n[profiles]", b"\xff"])
def test_profiles_that_cannot_be_read_are_a_fault_in_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: bytes
) -> None:
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path))
    monkeypatch.delenv("PREFECT_PROFILE", raising=False)
    (tmp_path / "profiles.toml").write_bytes(text)
    server, fault = configured.found(tmp_path)
    assert server is None
    assert f"{tmp_path}/profiles.toml: Prefect's profiles cannot be read" in str(fault)


@pytest.mark.slow
def test_a_run_with_proxies_that_lead_nowhere_reaches_its_own_server(trained: Project, nowhere: str) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy"):
        trained.env[name] = nowhere
    trained.env["NO_PROXY"] = "example.org"
    done = trained.retrain("--package.license", "mit")
    assert "5 of 7 stages cached" in done.stdout
    assert "Traceback" not in done.stderr


def test_a_password_in_an_address_or_a_proxy_is_in_no_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError) as wrong:
        connection.check("ftp://me:secret@127.0.0.1/api", {})
    assert "secret" not in str(wrong.value)
    for scheme in ("socks5", "ftp"):
        monkeypatch.setenv("ALL_PROXY", f"{scheme}://me:secret@192.0.2.1:1080")
        with pytest.raises(InputError, match="ALL_PROXY") as proxy:
            connection.refuse_unusable_proxy()
        assert "secret" not in str(proxy.value)


@pytest.mark.parametrize("headers", ["X-Token: me", "[1]"])
def test_headers_that_are_no_json_object_are_told_by_their_name(headers: str) -> None:
    with pytest.raises(InputError, match="PREFECT_CLIENT_CUSTOM_HEADERS is no JSON object"):
        connection.check("http://127.0.0.1:1/api", {"PREFECT_CLIENT_CUSTOM_HEADERS": headers})


def test_a_password_in_the_address_is_handed_on_apart_from_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT_API_URL", "https://me:p%40ss@example.org:4200/api")
    monkeypatch.delenv("PREFECT_API_AUTH_STRING", raising=False)
    connection.password_apart()
    assert os.environ["PREFECT_API_URL"] == "https://example.org:4200/api"
    assert os.environ.pop("PREFECT_API_AUTH_STRING") == "me:p@ss"
    for odd in ("", "http://[::1/api", "localhost:4200"):
        monkeypatch.setenv("PREFECT_API_URL", odd)
        connection.password_apart()
        assert os.environ["PREFECT_API_URL"] == odd
