"""`python -m tasks.tokenize`: the stage as dvc.yaml runs it."""

from pathlib import Path

from tasks import problems
from tasks.shared.stage import stage
from tasks.tokenize import tokenize

with stage("tokenize") as params:
    problem = problems.load(params.problem)
    tokenize(params.tokenize, params.model, problem, Path("data/splits"), Path("data/tokens"), Path("metrics/tokenize.json"))
