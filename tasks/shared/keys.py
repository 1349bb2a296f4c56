"""What decides a run's bytes, in words that can be hashed or written down: sources and pinned versions."""

import hashlib
import json
from pathlib import Path
from typing import Any

from tasks.shared.files import sha256
from tasks.shared.stage import pins

TASKS = Path(__file__).parents[1]
PROBLEMS = TASKS / "problems"


def sources(problem: str) -> dict[str, str]:
    """Return the SHA-256 of every module that the stages of `problem` run, by its path; other problems' folders left out."""
    others = {folder for folder in PROBLEMS.iterdir() if folder.is_dir()} - {PROBLEMS / "common", PROBLEMS / problem}
    ours = [file for file in TASKS.rglob("*.py") if others.isdisjoint(file.parents)]
    return {path.relative_to(TASKS.parent).as_posix(): sha256(path) for path in sorted(ours)}


def fingerprint(problem: str, decides: dict[str, Any]) -> str:
    """Return 16 hex digits for `decides` together with the sources and pins in force."""
    text = json.dumps({**decides, "sources": sources(problem), "pins": pins(problem)}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
