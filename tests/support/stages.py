"""The seven stages: what `retrain run` says of them, and what they write."""

import re
import shutil

from tasks.shared.files import digests
from tests.support.project import Project

STAGES = ("ingest", "split", "tokenize", "train", "evaluate", "package", "judge")
OUTPUTS = (
    "data/ingested",
    "data/media",
    "data/splits",
    "data/tokens",
    "models/checkpoint",
    "models/package",
    "plots/train",
    "plots/evaluate",
    "plots/judge",
)


def happened(output: str) -> dict[str, str]:
    """Read the table that `retrain run` prints: what happened to each stage."""
    return dict(re.findall(rf"^ *({'|'.join(STAGES)}) +(ran|cached \(\w+\))", output, re.MULTILINE))


def outputs(project: Project) -> dict[str, str]:
    """Return the SHA-256 of every file that any stage wrote."""
    found = {
        f"{folder}/{name}": digest
        for folder in OUTPUTS
        for name, digest in digests(project.root / folder).items()
    }
    return found | {f"metrics/{name}": digest for name, digest in digests(project.root / "metrics").items()}


def remove_outputs(project: Project) -> None:
    """Remove all that stages wrote; the cache keeps it."""
    for folder in (*OUTPUTS, "metrics"):
        shutil.rmtree(project.root / folder)
