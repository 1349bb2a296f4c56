"""What decides a run's bytes, in words that can be hashed or written down: sources and pinned versions."""

import hashlib
import json
from pathlib import Path
from typing import Any

from tasks.shared.files import sha256
from tasks.shared.stage import pins

TASKS = Path(__file__).parents[1]
PROBLEMS = TASKS / "problems"
# two look at what stages do, and are none; judge is run when the package is there
NOT_OF_PACKAGE = {TASKS / "preview", TASKS / "latency", TASKS / "judge"}


def sources(problem: str) -> dict[str, str]:
    """Return the SHA-256 of every file of source that makes a model of `problem`, by its path."""
    its = {PROBLEMS / "__init__.py", PROBLEMS / "common", PROBLEMS / problem}
    others = {*NOT_OF_PACKAGE, *PROBLEMS.iterdir()} - its
    found = {}
    for path, digest in digest_sources(TASKS).items():
        if others.isdisjoint([path, *path.parents]):
            found[path.relative_to(TASKS.parent).as_posix()] = digest
    return found


def digest_sources(folder: Path) -> dict[Path, str]:
    """Return the SHA-256 of every file below a folder of source; what Python leaves there is none."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and "__pycache__" not in path.parts]
    return {path: sha256(path) for path in files if path.suffix != ".pyc"}


def fingerprint(problem: str, decides: dict[str, Any]) -> str:
    """Return 16 hex digits for `decides` together with the sources and pins in force."""
    text = json.dumps({**decides, "sources": sources(problem), "pins": pins(problem)}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
