"""Every route of the Prefect server, asked as whoever must not be answered asks, and as its user does."""

import asyncio
import json
import random
import re
import string
import uuid
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import urllib3
from websockets.asyncio.client import connect
from websockets.exceptions import WebSocketException
from websockets.typing import Subprotocol

from tests.attacks import Attempt
from tests.support.server import ALONE, prefect_server

# more than there are: every route in every way
LONG, SHORT = 5000, 100
WAYS = ("without", "wrong", "elsewhere", "other name", "right")
REFUSED = {"without": 401, "wrong": 401, "elsewhere": 403, "other name": 421}
# to everybody who calls the server by its name
OPEN = {("GET", "/health"), ("GET", "/ready")}
SOCKETS = (
    "/events/in",
    "/events/out",
    "/logs/out",
    "/task_runs/subscriptions/scheduled",
    "/work_pools/x/workers/connect",
)
CHANGES = ("POST", "PUT", "PATCH", "DELETE")
ALL_REFUSALS = (401, 403, 421)
CLIENT = {"Prefect-Csrf-Client": "routes"}


def attempts(seed: int, count: int, scratch: Path) -> Iterator[Attempt]:
    """Yield whether each of `count` requests, drawn from every route in every way, is refused, or the user's own let in."""
    letters = random.Random(seed)  # noqa: S311
    password = "retrain:" + "".join(letters.choices(string.ascii_letters + string.digits, k=24))
    with prefect_server(scratch / "home", password) as api:
        described = urllib3.request("GET", f"{api}/openapi.json", headers=_knows(password)).json()
        asked = [(method.upper(), path) for path, known in described["paths"].items() for method in known]
        asked += [("SOCKET", path) for path in SOCKETS]
        tries = [(way, method, path) for method, path in asked for way in WAYS]
        letters.shuffle(tries)
        token = urllib3.request("GET", f"{api}/csrf-token?client=routes", headers=_knows(password)).json()[
            "token"
        ]
        for number, (way, method, path) in enumerate(tries[:count]):
            draw = random.Random(seed + number)  # noqa: S311
            headers = _headers(way, password, api, draw)
            case = f"seed {seed + number}: {way}, {method} {path}"
            if method == "SOCKET":
                given = headers.pop("Authorization", "")
                said = password if given == _knows(password)["Authorization"] else given
                is_open = asyncio.run(_opens(api, path, said, headers))
                yield Attempt(case, None if is_open == (way == "right") else f"the socket opens: {is_open}")
            else:
                headers |= CLIENT | {"Prefect-Csrf-Token": token} if way == "right" else {}
                yield Attempt(case, _fault(api, way, method, path, headers, draw))


def _fault(
    api: str, way: str, method: str, path: str, headers: dict[str, str], draw: random.Random
) -> str | None:
    """Return what is wrong with how a request is answered."""
    filled = re.sub(r"\{\w+\}", lambda _: str(uuid.UUID(int=draw.getrandbits(128))), path)
    if way != "right" and draw.random() < 0.2:
        # the same path, spelled otherwise
        place = draw.randrange(1, len(filled))
        filled = f"{filled[:place]}%{ord(filled[place]):02X}{filled[place + 1 :]}"
    body: dict[str, Any] = {"json": {}} if method in CHANGES else {}
    answer = urllib3.request(method, f"{api}{filled}", headers=headers | ALONE, redirect=False, **body)
    if way == "right":
        # what Prefect makes of an empty body is its own affair
        return f"refused with {answer.status}" if answer.status in ALL_REFUSALS else None
    expected = 200 if (method, path) in OPEN and way in ("without", "wrong") else REFUSED[way]
    if answer.status != expected:
        return f"answered with {answer.status} instead of {expected}: {answer.data[:200]!r}"
    leaks = [name for name in answer.headers if name.lower().startswith("access-control")]
    return f"another page is told {leaks}" if leaks else None


async def _opens(api: str, path: str, token: str, headers: dict[str, str]) -> bool:
    """Return whether a websocket opens for who says this token."""
    there = urlsplit(api)
    # called by another name, the server is still where it is
    url = f"ws://{headers.pop('Host', there.netloc)}{there.path}{path}"
    said = json.dumps({"type": "auth", "token": token} if token else {"type": "filter"})
    place: dict[str, Any] = {"host": there.hostname, "port": there.port, "additional_headers": headers}
    try:
        async with connect(url, subprotocols=[Subprotocol("prefect")], **place) as socket:
            await socket.send(said)
            return "auth_success" in str(await socket.recv())
    except WebSocketException:
        return False


def _headers(way: str, password: str, api: str, draw: random.Random) -> dict[str, str]:
    """Return the headers of who asks in this way: all but the first two know the password."""
    if way == "without":
        return {}
    if way == "wrong":
        return {"Authorization": _wrong(password, draw)}
    if way == "elsewhere":
        other = f"http://127.0.0.1:{draw.randrange(1, 1024)}"
        return _knows(password) | {
            "Origin": draw.choice(["http://evil.example", "null", other, api.replace("http", "file")])
        }
    if way == "other name":
        port = api.partition("//")[2].partition("/")[0].rpartition(":")[2]
        name = draw.choice(
            [
                "evil.example",
                f"evil.example:{port}",
                f"0.0.0.0:{port}",
                f"127.0.0.1.evil.example:{port}",
                "localhost.",
            ]
        )
        return _knows(password) | {"Host": name}
    return _knows(password) | {"Origin": api.removesuffix("/api")}


def _knows(password: str) -> dict[str, str]:
    return {"Authorization": f"Basic {b64encode(password.encode()).decode()}"}


def _wrong(password: str, draw: random.Random) -> str:
    """Return what is not the password, but near it."""
    place = draw.randrange(len(password))
    near = draw.choice(
        [
            password[:-1],
            password + " ",
            password.swapcase(),
            password[:place] + "é" + password[place + 1 :],
            "",
            ":",
        ]
    )
    encoded = b64encode(near.encode()).decode()
    return draw.choice(
        [
            f"Basic {encoded}",
            f"Bearer {encoded}",
            f"Basic {password}",
            encoded,
            "Basic",
            "Basic =",
            f"Basic {encoded}==",
        ]
    )
