"""The password of the server that `make up` starts: made once, and kept for nobody but its owner."""

import os
import secrets
from collections.abc import Callable
from pathlib import Path

USER = "retrain"
OWNER_ONLY = 0o600


def file_of(checkout: Path) -> Path:
    """Return where the password is kept that `make up` made for its server."""
    return checkout / ".retrain" / "password"


def draw() -> str:
    """Return a new password, as user:password."""
    return f"{USER}:{secrets.token_urlsafe(24)}"


def read(checkout: Path) -> str | None:
    """Return the password that `make up` made for its server here, as user:password; None: none was made."""
    file = file_of(checkout)
    return file.read_text("utf-8").strip() or None if file.exists() else None


def make(checkout: Path, say: Callable[[str], None]) -> str:
    """Return the password of this checkout's server: made and told once, kept for nobody but its owner."""
    file = file_of(checkout)
    if known := read(checkout):
        file.chmod(OWNER_ONLY)
        return known
    made = draw()
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
