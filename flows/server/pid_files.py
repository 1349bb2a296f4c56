"""Which processes `make up` has started in a checkout: a file per service, with number and start time."""

import contextlib
import json
from pathlib import Path
from typing import TYPE_CHECKING

from tasks.shared.files import replace

if TYPE_CHECKING:
    import psutil


def folder(checkout: Path) -> Path:
    """Return the folder that holds them."""
    return checkout / ".retrain" / "services"


def write(checkout: Path, service: str, pid: int, **more: str) -> None:
    """Write down which process a service is."""
    import psutil

    record = {"pid": pid, "created": psutil.Process(pid).create_time(), **more}
    replace(folder(checkout) / f"{service}.json", json.dumps(record))


def process(file: Path) -> "psutil.Process | None":
    """Return the process that a file names, unless it is gone; a later one may have been given its number."""
    import psutil

    known = json.loads(file.read_text("utf-8"))
    with contextlib.suppress(psutil.NoSuchProcess):
        found = psutil.Process(known["pid"])
        if found.create_time() == known["created"] and found.status() != psutil.STATUS_ZOMBIE:
            return found
    return None


def is_running(checkout: Path, service: str) -> bool:
    """Return whether a service that was started here still runs."""
    file = folder(checkout) / f"{service}.json"
    return file.exists() and process(file) is not None


def running_server(checkout: Path) -> str | None:
    """Return the API URL of the server that `make up` started here, if it is running."""
    if not is_running(checkout, "server"):
        return None
    return str(json.loads((folder(checkout) / "server.json").read_text("utf-8"))["api"])
