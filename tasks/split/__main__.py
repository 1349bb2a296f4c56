"""`python -m tasks.split`: the stage as dvc.yaml runs it."""

from tasks import problems
from tasks.shared.paths import Paths
from tasks.shared.stage import stage
from tasks.split import split

with stage("split") as params:
    split(params.split, problems.load(params.problem, params.own).columns, Paths())
