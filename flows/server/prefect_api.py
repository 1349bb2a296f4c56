"""Which Prefect server a command talks to, and one for a command that has none; without importing Prefect, which takes over a second."""

import atexit
import contextlib
import json
import os
import secrets
import socket
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable, Mapping, MutableMapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from tasks.shared.errors import InputError
from tasks.shared.files import private_folder

if TYPE_CHECKING:
    import psutil

PATIENCE = 120.0  # seconds for a temporary server to answer: the first in a checkout makes its database
PRIVATE = 0o077  # the umask of servers: their databases hold what runs were given and logged
GRACE = 5.0  # seconds for it to end
USER = "retrain"
OWNER_ONLY = 0o600
# Prefect's setting for the pages that may ask a server
ORIGINS = "PREFECT_SERVER_API_CORS_ALLOWED_ORIGINS"
_temporary: subprocess.Popen[bytes] | None = None


@dataclass(frozen=True)
class Configured:
    """The server that is configured: its address, Prefect's settings, and what to do to have none configured."""

    api: str
    settings: Mapping[str, str]
    otherwise: str

    def fault(self) -> InputError | None:
        """Return why nothing can be recorded there, found out at once: Prefect would try for minutes, and end with a traceback."""
        from flows.server import connection

        try:
            connection.check(self.api, self.settings, self.otherwise)
        except InputError as error:
            return error
        return None


def configured(checkout: Path) -> Configured | None:
    """Return the server that Prefect will talk to: PREFECT_API_URL's, that of `make up`, or the active profile's; None: none is."""
    profile, ours = _profile(), running(checkout)
    if api := os.environ.get("PREFECT_API_URL"):
        if api.rstrip("/") == ours:
            _use(api, password(checkout))
        return Configured(api, {**profile, **os.environ}, ", or `unset PREFECT_API_URL` to run without one")
    if ours:
        _use(ours, password(checkout))
        return Configured(ours, {**profile, **os.environ}, ": `retrain down`, then `retrain up`")
    if api := profile.get("PREFECT_API_URL"):
        return Configured(api, {**profile, **os.environ}, ", or `prefect config unset -y PREFECT_API_URL` to run without one")
    return None


def _profile() -> dict[str, str]:
    """Return the settings of Prefect's active profile."""
    home = Path(os.environ.get("PREFECT_HOME", "~/.prefect")).expanduser()
    profiles = Path(os.environ.get("PREFECT_PROFILES_PATH", home / "profiles.toml"))
    if not profiles.exists():
        return {}
    known: dict[str, Any] = tomllib.loads(profiles.read_text("utf-8"))
    active = os.environ.get("PREFECT_PROFILE", known.get("active", ""))
    return {name: str(value) for name, value in known.get("profiles", {}).get(active, {}).items()}


def password_file(checkout: Path) -> Path:
    """Return where the password is kept that `make up` made for its server."""
    return checkout / ".retrain" / "password"


def password(checkout: Path) -> str | None:
    """Return the password that `make up` made for its server here, as user:password; None: none was made."""
    file = password_file(checkout)
    return file.read_text("utf-8").strip() or None if file.exists() else None


def make_password(checkout: Path, say: Callable[[str], None]) -> str:
    """Return the password of this checkout's server: made and told once, kept for nobody but its owner."""
    file = password_file(checkout)
    if known := password(checkout):
        file.chmod(OWNER_ONLY)
        return known
    made = f"{USER}:{secrets.token_urlsafe(24)}"
    part = file.with_name(".password.part")
    part.unlink(missing_ok=True)
    new = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, OWNER_ONLY)
    with os.fdopen(new, "w", encoding="utf-8") as lines:
        lines.write(f"{made}\n")
        lines.flush()
        os.fsync(lines.fileno())
    part.replace(file)
    where = file.relative_to(checkout)
    say(f"the server's password, which the UI asks for, is {made}; it is kept in {where}")
    return made


def protect(env: MutableMapping[str, str], api: str) -> None:
    """Have the server at this address answer its own pages only, and ask for a token against forged requests.

    What `env` says already stays.
    """
    address = urlsplit(api)
    host = f"[{address.hostname}]" if ":" in str(address.hostname) else address.hostname
    names = ("127.0.0.1", "localhost") if host in ("127.0.0.1", "localhost") else (host,)
    pages = ",".join(f"http://{name}:{address.port}" for name in names)
    wanted = {
        ORIGINS: pages,
        "PREFECT_SERVER_API_CSRF_PROTECTION_ENABLED": "true",
    }
    for name, value in wanted.items():
        # Prefect knows each by two names
        if name.replace("_API_", "_") not in env:
            env.setdefault(name, value)


def records(checkout: Path) -> Path:
    """Return the folder where `make up` writes down which processes it has started."""
    return checkout / ".retrain" / "services"


def running(checkout: Path) -> str | None:
    """Return the API URL of the server that `make up` started here, if it is running."""
    record = records(checkout) / "server.json"
    return str(json.loads(record.read_text("utf-8"))["api"]) if record.exists() and process(record) else None


def process(record: Path) -> "psutil.Process | None":
    """Return the process that a record names, unless it is gone; a later process may have been given its number."""
    import psutil

    known = json.loads(record.read_text("utf-8"))
    with contextlib.suppress(psutil.NoSuchProcess):
        found = psutil.Process(known["pid"])
        if found.create_time() == known["created"] and found.status() != psutil.STATUS_ZOMBIE:
            return found
    return None


def start_temporary(checkout: Path) -> None:
    """Start a server for this command alone, its database in the repository's ignored folder; `wait_for_temporary` when it is needed.

    Prefect would start one itself, but only when it has been imported, and where Ctrl-C and `timeout` would end it before the run could say
    how it ended: they signal the whole process group. This one is in a session of its own, and ends when this process does, however it does.
    Its password is a new one each time, and stands in no file and on no command line.
    """
    global _temporary  # noqa: PLW0603 (one per process, as its environment is)
    from flows.server import connection

    connection.refuse_unusable_proxy()
    home = private_folder(checkout / ".retrain") / "prefect"
    home.mkdir(exist_ok=True)
    os.environ.setdefault("PREFECT_HOME", str(home))
    os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
    os.environ.setdefault("PREFECT_UI_URL", "")  # so that no link leads to a server that is gone
    secret = f"{USER}:{secrets.token_urlsafe(24)}"
    with socket.create_server(("127.0.0.1", 0)) as listening:
        api = f"http://127.0.0.1:{listening.getsockname()[1]}/api"
        os.environ |= {"PREFECT_API_URL": api, "PREFECT_API_AUTH_STRING": secret}
        env = {**os.environ, "PREFECT_SERVER_API_AUTH_STRING": secret}
        protect(env, api)
        _temporary = subprocess.Popen(  # noqa: S603 (our own interpreter and module, no shell)
            [sys.executable, "-m", "flows.server.temporary", str(listening.fileno()), str(os.getpid())],
            pass_fds=[listening.fileno()],
            umask=PRIVATE,
            env=env,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
    atexit.register(_end, _temporary)  # before Prefect is imported, so that it is called after Prefect has sent its last logs


def wait_for_temporary() -> None:
    """Wait until the server that `start_temporary` has started, if any, answers; raise InputError when it does not."""
    if _temporary is None:
        return
    import urllib.request

    end = time.monotonic() + PATIENCE
    while time.monotonic() < end and _temporary.poll() is None:
        with contextlib.suppress(OSError), urllib.request.urlopen(f"{os.environ['PREFECT_API_URL']}/health", timeout=PATIENCE):  # noqa: S310
            return
        time.sleep(0.05)
    raise InputError("Prefect's temporary server does not start; what it said stands above. `make up` starts one that stays")


def _end(process: subprocess.Popen[bytes]) -> None:
    """Have a server store what it has been told, and end."""
    process.terminate()
    try:
        process.wait(GRACE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _use(api: str, secret: str | None) -> None:
    """Have Prefect talk to our server at this address; a password that the user has set wins over ours."""
    os.environ["PREFECT_API_URL"] = api
    if secret := os.environ.get("PREFECT_SERVER_API_AUTH_STRING") or secret:
        os.environ.setdefault("PREFECT_API_AUTH_STRING", secret)
