"""What decides a stage's bytes, in words that can be hashed or written down: params, sources, pinned versions."""

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

from tasks.files import sha256
from tasks.stage import pins


def sources() -> dict[str, str]:
    """Return the SHA-256 of every module of `tasks` that this process has imported, by its path."""
    root = Path(__file__).parent.parent
    files = {
        Path(module.__file__).resolve()
        for name, module in sys.modules.items()
        if (name == "__main__" or name.split(".")[0] == "tasks") and getattr(module, "__file__", None)
    }
    ours = {path.relative_to(root).as_posix(): sha256(path) for path in files if path.is_relative_to(root / "tasks")}
    return dict(sorted(ours.items()))


def fingerprint(decides: dict[str, Any]) -> str:
    """Return 16 hex digits for `decides` together with the sources and pins in force."""
    text = json.dumps({**decides, "sources": sources(), "pins": pins()}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
