"""What decides a run's bytes, in words that can be hashed or written down: sources and pinned versions."""

import hashlib
import json
from pathlib import Path
from typing import Any

from tasks.shared.files import sha256
from tasks.shared.stage import pins

TASKS = Path(__file__).parent


def sources(problem: str) -> dict[str, str]:
    """Return the SHA-256 of every module that the stages of `problem` run, by its path; other problems' files left out."""
    ours = [file for file in TASKS.rglob("*.py") if file.parent.name != "problems" or file.stem in ("__init__", problem)]
    return {path.relative_to(TASKS.parent).as_posix(): sha256(path) for path in sorted(ours)}


def fingerprint(problem: str, decides: dict[str, Any]) -> str:
    """Return 16 hex digits for `decides` together with the sources and pins in force."""
    text = json.dumps({**decides, "sources": sources(problem), "pins": pins()}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
