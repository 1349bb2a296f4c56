"""The password of the server that `make up` starts: made once, and kept for nobody but its owner."""

import secrets
from pathlib import Path

from tasks.shared.files import for_owner, replace
from tasks.shared.say import Say

USER = "retrain"


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


def make(checkout: Path, say: Say) -> str:
    """Return the password of this checkout's server: made and told once, kept for nobody but its owner."""
    file = file_of(checkout)
    if known := read(checkout):
        file.chmod(0o600)
        return known
    made = draw()
    replace(file, f"{made}\n", opener=for_owner)
    say(f"the server's password, for the UI, is {made}; it is kept in {file.relative_to(checkout)}")
    return made
