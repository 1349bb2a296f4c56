"""Prefect's server behind a door: `python -m flows.server.guard` serves it, like `prefect server start`.

A request must call the server by a name of its own (a page elsewhere may have another name lead to this
machine), come from no page but the server's own, and for the API bring the password. Prefect asks for the
password again, and for a token against forged requests.
"""

import hmac
import os
import re
import sys
from base64 import b64encode
from collections.abc import Iterable, MutableMapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from flows.server.connection import LOOPBACK
from tasks.shared.errors import InputError

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

# Prefect's setting for the pages that may ask a server
ORIGINS = "PREFECT_SERVER_API_CORS_ALLOWED_ORIGINS"
# the umask of servers: their databases hold what runs were given and logged
PRIVATE = 0o077
HOST = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(:[0-9]+)?")
# what means every interface: nobody calls a server so, except a page that wants around a browser's rules
ANYWHERE = ("0.0.0.0", "::")  # noqa: S104
EVERY_PAGE = "*"
OPEN = ("/health", "/ready")
IN_A_PAGE = (b"iframe", b"frame", b"object", b"embed")
POLICY_VIOLATION = 1008


@dataclass(frozen=True)
class Guard:
    """An ASGI application that hands on what is meant for the one it guards, and refuses the rest.

    names: what the server is called, in small letters. origins: pages of other addresses that are its own
    all the same. api: the path of all that needs the password.
    """

    app: "ASGIApp"
    names: frozenset[str]
    origins: frozenset[str]
    password: str
    api: str = "/api"

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        """Answer a request, or have it answered."""
        refusal = None if scope["type"] == "lifespan" else self.refusal(scope)
        if refusal is None:
            await self.app(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": POLICY_VIOLATION})
        else:
            from starlette.responses import JSONResponse

            status, why = refusal
            await JSONResponse({"exception_message": why}, status)(scope, receive, send)

    def refusal(self, scope: "Scope") -> tuple[HTTPStatus, str] | None:
        """Return the status and the sentence with which a request is refused; None: it is let in."""
        headers: dict[bytes, list[bytes]] = {}
        for name, value in scope["headers"]:
            headers.setdefault(name.lower(), []).append(value)
        hosts = [host.decode("latin-1").lower() for host in headers.get(b"host", ())]
        called = HOST.fullmatch(hosts[0]) if len(hosts) == 1 else None
        if called is None or called[1].strip("[]") not in {*self.names, (scope.get("server") or ("",))[0]}:
            return HTTPStatus.MISDIRECTED_REQUEST, f"this server is not called so; name it in {ORIGINS}"
        for page in headers.get(b"origin", ()):
            if not self._is_own(page.decode("latin-1").lower(), hosts[0]):
                return HTTPStatus.FORBIDDEN, f"this page may not ask this server; name its own in {ORIGINS}"
        if any(where in IN_A_PAGE for where in headers.get(b"sec-fetch-dest", ())):
            return HTTPStatus.FORBIDDEN, "this server is not shown inside other pages"
        if scope["type"] == "http" and self._needs_password(scope) and not self._has_password(headers):
            return HTTPStatus.UNAUTHORIZED, "Unauthorized"
        return None

    def _is_own(self, origin: str, host: str) -> bool:
        # a proxy in front may speak TLS where this server speaks plain HTTP: the scheme is not compared
        return origin in self.origins or origin.partition("://")[2] == host

    def _needs_password(self, scope: "Scope") -> bool:
        path = scope["path"]
        if not f"{path}/".startswith(f"{self.api}/"):
            return False
        return not (scope["method"] == "GET" and path.removeprefix(self.api) in OPEN)

    def _has_password(self, headers: dict[bytes, list[bytes]]) -> bool:
        right = b"Basic " + b64encode(self.password.encode())
        given = headers.get(b"authorization", [])
        return len(given) == 1 and hmac.compare_digest(given[0], right)


def protect(env: MutableMapping[str, str], api: str) -> None:
    """Have the server at this address answer its own pages only, and ask for a token against forged requests.

    What `env` says already stays.
    """
    address = urlsplit(api)
    host = f"[{address.hostname}]" if ":" in str(address.hostname) else address.hostname
    names = ("127.0.0.1", "localhost") if host in ("127.0.0.1", "localhost") else (host,)
    pages = ",".join(f"http://{name}:{address.port}" for name in names)
    wanted = {ORIGINS: pages, "PREFECT_SERVER_API_CSRF_PROTECTION_ENABLED": "true"}
    for name, value in wanted.items():
        # Prefect knows each by two names
        if name.replace("_API_", "_") not in env:
            env.setdefault(name, value)


def guarded(app: "ASGIApp") -> Guard:
    """Return Prefect's application behind its door; raise InputError when its settings name no password."""
    from prefect.settings import get_current_settings

    settings = get_current_settings()
    api, ui = settings.server.api, settings.server.ui
    if api.auth_string is None or not api.auth_string.get_secret_value():
        raise InputError("the server has no password; set PREFECT_SERVER_API_AUTH_STRING=user:password")
    # Prefect's default, every page, is taken for none but the server's own
    pages = api.cors_allowed_origins.lower().split(",")
    origins = {page.strip().rstrip("/") for page in pages} - {"", EVERY_PAGE}
    known = {*LOOPBACK, os.uname().nodename.lower(), api.host.lower()} - {*ANYWHERE}
    names = frozenset({*known, *_names((*origins, ui.api_url, settings.ui_url))})
    return Guard(app, names, frozenset(origins), api.auth_string.get_secret_value(), api.base_path or "/api")


def _names(addresses: Iterable[str | None]) -> set[str]:
    return {host for address in addresses if address and (host := urlsplit(address).hostname)}


def serve() -> None:
    """Serve Prefect's API and UI until a signal comes."""
    import uvicorn
    from prefect.server.api.server import create_app
    from prefect.settings import get_current_settings

    settings = get_current_settings().server
    api = settings.api
    options: dict[str, Any] = {
        "timeout_keep_alive": api.keepalive_timeout,
        "ws_ping_interval": api.websocket_ping_interval,
        "ws_ping_timeout": api.websocket_ping_timeout,
        "log_level": settings.logging_level.lower(),
    }
    uvicorn.run(guarded(create_app(final=True)), host=api.host, port=api.port, lifespan="on", **options)


if __name__ == "__main__":
    try:
        serve()
    except InputError as error:
        sys.exit(f"error: {error}")
