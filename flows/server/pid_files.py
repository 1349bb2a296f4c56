"""Which processes `make up` has started in a checkout: a file per service, with number and start."""

import contextlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks.shared.files import read_json, replace

if TYPE_CHECKING:
    import psutil

BOOT = Path("/proc/sys/kernel/random/boot_id")


def folder(checkout: Path) -> Path:
    """Return the folder that holds them."""
    return checkout / ".retrain" / "services"


def write(checkout: Path, service: str, pid: int, **more: str) -> None:
    """Write down which process a service is."""
    record = {"pid": pid, "started": _started(pid), **more}
    replace(folder(checkout) / f"{service}.json", json.dumps(record))


def process(file: Path) -> "psutil.Process | None":
    """Return the process that a file names, unless it is gone; a later one may have been given its number."""
    import psutil

    known = read_json(file)
    with contextlib.suppress(psutil.NoSuchProcess):
        return psutil.Process(known["pid"]) if _lives(known) else None
    return None


def is_running(checkout: Path, service: str) -> bool:
    """Return whether a service that was started here still runs."""
    file = folder(checkout) / f"{service}.json"
    return file.exists() and _lives(read_json(file))


def running_server(checkout: Path) -> str | None:
    """Return the API URL of the server that `make up` started here, if it is running."""
    if not is_running(checkout, "server"):
        return None
    return str(read_json(folder(checkout) / "server.json")["api"])


def _lives(known: dict[str, Any]) -> bool:
    now = _started(known["pid"])
    return now is not None and now == known.get("started")


def _started(pid: int) -> str | None:
    """Return when a process was started, in ticks of a boot; None: it is gone, or has ended.

    psutil tells it by the machine's clock, and may say something else when that has been set.
    """
    try:
        told = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    # behind the name, which may hold anything: the 3rd field, and the 22nd, of proc_pid_stat(5)
    state, *more = told.rpartition(")")[2].split()
    return None if state in "ZX" else f"{more[18]} of boot {BOOT.read_text('ascii').strip()}"
