"""`python -m tasks.split`: the stage as dvc.yaml runs it."""

from pathlib import Path

from tasks.shared.stage import stage
from tasks.split import split

with stage("split") as params:
    split(params.split, Path("data/ingested"), Path("data/splits"), Path("metrics/split.json"))
