"""`python -m tasks.package`: the stage as dvc.yaml runs it."""

from tasks import problems
from tasks.package import package
from tasks.shared import slots
from tasks.shared.paths import Paths
from tasks.shared.stage import stage

with stage("package") as params, slots.device("package"):
    package(params, problems.load(params.problem, params.own), Paths())
