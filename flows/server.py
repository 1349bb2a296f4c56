"""Which Prefect server a command talks to, found out without importing Prefect: that takes over a second."""

import contextlib
import json
import os
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import psutil


def is_configured(checkout: Path) -> bool:
    """Return whether Prefect will talk to a server that runs already: PREFECT_API_URL's, that of `make up`, or the active profile's."""
    if os.environ.get("PREFECT_API_URL"):
        return True
    if api := running(checkout):
        os.environ["PREFECT_API_URL"] = api
        if secret := os.environ.get("PREFECT_SERVER_API_AUTH_STRING"):
            os.environ.setdefault("PREFECT_API_AUTH_STRING", secret)
        return True
    home = Path(os.environ.get("PREFECT_HOME", "~/.prefect")).expanduser()
    profiles = Path(os.environ.get("PREFECT_PROFILES_PATH", home / "profiles.toml"))
    if not profiles.exists():
        return False
    known: dict[str, Any] = tomllib.loads(profiles.read_text("utf-8"))
    active = os.environ.get("PREFECT_PROFILE", known.get("active", ""))
    return "PREFECT_API_URL" in known.get("profiles", {}).get(active, {})


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


def do_without(checkout: Path) -> None:
    """Keep the record of a run that no server watches in the repository's ignored folder, and out of the network."""
    home = checkout / ".retrain" / "prefect"
    home.mkdir(parents=True, exist_ok=True)
    os.environ.setdefault("PREFECT_HOME", str(home))
    os.environ.setdefault("PREFECT_SERVER_ALLOW_EPHEMERAL_MODE", "true")
    os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
    os.environ.setdefault("PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS", "60")
