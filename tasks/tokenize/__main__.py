"""`python -m tasks.tokenize`: the stage as dvc.yaml runs it."""

from tasks import problems
from tasks.shared.engine import started
from tasks.shared.paths import Paths
from tasks.shared.stage import stage
from tasks.tokenize import tokenize

with stage("tokenize") as params, started(params) as engine:
    tokenize(params.tokenize, params.model, problems.load(params.problem, params.own), Paths(), engine)
