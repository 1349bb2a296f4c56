"""`python -m tasks.ingest`: the stage as dvc.yaml runs it."""

from pathlib import Path

from tasks import problems
from tasks.ingest import ingest
from tasks.shared.stage import stage

with stage("ingest") as params:
    ingest(params.data, params.ingest, problems.load(params.problem), Path("data/ingested"), Path("metrics/ingest.json"))
