"""`python -m tasks.evaluate`: the stage as dvc.yaml runs it."""

from tasks import problems
from tasks.evaluate import evaluate
from tasks.shared import slots, tracking
from tasks.shared.engine import started
from tasks.shared.paths import Paths
from tasks.shared.stage import stage

with (
    stage("evaluate") as params,
    slots.device("evaluate", params),
    started(params) as engine,
    tracking.measuring(params, Paths().checkpoint) as journal,
):
    evaluate(params.evaluate, problems.load(params.problem, params.own), Paths(), engine)
    journal.tested(Paths())
