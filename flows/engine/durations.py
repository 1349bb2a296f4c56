"""How long each stage took when it last ran, for `retrain plan`."""

import json
from pathlib import Path

from tasks.shared.files import read_json, replace

FILE = ".retrain/seconds.json"


def last_seconds(checkout: Path) -> dict[str, float]:
    """Return how many seconds each stage took when it last ran; nothing when the file is broken."""
    try:
        said = read_json(checkout / FILE)
        return {name: float(seconds) for name, seconds in said.items() if float(seconds) >= 0}
    except (OSError, ValueError, TypeError, AttributeError, OverflowError, RecursionError):
        return {}


def record(checkout: Path, stage: str, seconds: float) -> None:
    """Keep how long a stage took."""
    replace(checkout / FILE, json.dumps({**last_seconds(checkout), stage: round(seconds, 1)}))
