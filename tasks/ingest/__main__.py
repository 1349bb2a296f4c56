"""`python -m tasks.ingest`: the stage as dvc.yaml runs it."""

from tasks import problems
from tasks.ingest import ingest
from tasks.shared.engine import started
from tasks.shared.paths import Paths
from tasks.shared.stage import stage

with stage("ingest") as params, started(params) as engine:
    ingest(params.data, params.ingest, problems.load(params.problem, params.own), Paths(), engine)
