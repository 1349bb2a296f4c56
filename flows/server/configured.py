"""Which Prefect server a command talks to, found without importing Prefect, which takes over a second."""

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flows.server import password, pid_files
from tasks.shared.errors import InputError


@dataclass(frozen=True)
class Configured:
    """The server that is configured: its address, Prefect's settings, and how to have none configured."""

    api: str
    settings: Mapping[str, str]
    otherwise: str

    def fault(self) -> InputError | None:
        """Return why nothing can be recorded there.

        Asked at once: Prefect would try for minutes, and end with a traceback.
        """
        from flows.server import connection

        try:
            connection.check(self.api, self.settings, self.otherwise)
        except InputError as error:
            return error
        return None


def found(checkout: Path) -> tuple[Configured | None, InputError | None]:
    """Return the server that is configured, if there is one, and why nothing can be recorded there, if so."""
    try:
        server = configured(checkout)
    except InputError as error:
        return None, error
    return server, server.fault() if server else None


def configured(checkout: Path) -> Configured | None:
    """Return the server that Prefect will talk to: PREFECT_API_URL's, that of `make up`, or the profile's.

    None: there is none. Raises InputError for profiles that cannot be read.
    """
    known, ours, given = profile(), pid_files.running_server(checkout), os.environ.get("PREFECT_API_URL")
    if given:
        api, otherwise = given, ", or `unset PREFECT_API_URL` to run without one"
    elif ours:
        api, otherwise = ours, ": `retrain down`, then `retrain up`"
    elif named := known.get("PREFECT_API_URL"):
        api, otherwise = named, ", or `prefect config unset -y PREFECT_API_URL` to run without one"
    else:
        return None
    if api.rstrip("/") == ours:
        os.environ["PREFECT_API_URL"] = api
        # for links: without /v2 they open the older UI
        os.environ.setdefault("PREFECT_UI_URL", f"{ours.removesuffix('/api')}/v2")
        # a password that the user has set wins over ours
        if secret := os.environ.get("PREFECT_SERVER_API_AUTH_STRING") or password.read(checkout):
            os.environ.setdefault("PREFECT_API_AUTH_STRING", secret)
    return Configured(api, {**known, **os.environ}, otherwise)


def profile() -> dict[str, str]:
    """Return the settings of Prefect's active profile; raise InputError when they cannot be read."""
    home = Path(os.environ.get("PREFECT_HOME", "~/.prefect")).expanduser()
    profiles = Path(os.environ.get("PREFECT_PROFILES_PATH", home / "profiles.toml"))
    if not profiles.exists():
        return {}
    try:
        known: dict[str, Any] = tomllib.loads(profiles.read_text("utf-8"))
        active = os.environ.get("PREFECT_PROFILE", known.get("active", ""))
        return {name: str(value) for name, value in known.get("profiles", {}).get(active, {}).items()}
    except (OSError, ValueError, AttributeError, TypeError) as error:
        unread = f"Prefect's profiles cannot be read ({error})"
        raise InputError(f"{profiles}: {unread}; correct the file, or move it away") from None
