"""`python -m tasks.ingest`: the stage as dvc.yaml runs it."""

from tasks import problems
from tasks.ingest import ingest
from tasks.shared.paths import Paths
from tasks.shared.stage import stage

with stage("ingest") as params:
    ingest(params.data, params.ingest, problems.load(params.problem, params.own), Paths())
