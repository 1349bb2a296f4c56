"""Which Prefect server a command talks to, found out without importing Prefect: that takes over a second."""

import os
import tomllib
from pathlib import Path
from typing import Any


def is_configured() -> bool:
    """Return whether Prefect would talk to a server that runs already."""
    if os.environ.get("PREFECT_API_URL"):
        return True
    home = Path(os.environ.get("PREFECT_HOME", "~/.prefect")).expanduser()
    profiles = Path(os.environ.get("PREFECT_PROFILES_PATH", home / "profiles.toml"))
    if not profiles.exists():
        return False
    known: dict[str, Any] = tomllib.loads(profiles.read_text("utf-8"))
    active = os.environ.get("PREFECT_PROFILE", known.get("active", ""))
    return "PREFECT_API_URL" in known.get("profiles", {}).get(active, {})


def do_without(checkout: Path) -> None:
    """Keep the record of a run that no server watches in the repository's ignored folder, and out of the network."""
    home = checkout / ".retrain" / "prefect"
    home.mkdir(parents=True, exist_ok=True)
    os.environ.setdefault("PREFECT_HOME", str(home))
    os.environ.setdefault("PREFECT_SERVER_ALLOW_EPHEMERAL_MODE", "true")
    os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
    os.environ.setdefault("PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS", "60")
