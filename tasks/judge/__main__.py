"""`python -m tasks.judge`: the stage as dvc.yaml runs it."""

from tasks import problems
from tasks.judge import judge
from tasks.shared import slots
from tasks.shared.paths import Paths
from tasks.shared.stage import stage

with stage("judge") as params, slots.device("judge"):
    judge(params.evaluate, params.promote.champion, problems.load(params.problem, params.own), Paths())
