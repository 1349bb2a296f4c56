"""`python -m tasks.evaluate`: the stage as dvc.yaml runs it."""

from pathlib import Path

from tasks import problems
from tasks.evaluate import evaluate
from tasks.shared import slots
from tasks.shared.stage import stage

with stage("evaluate") as params, slots.device("evaluate"):
    evaluate(
        params.evaluate,
        problems.load(params.problem),
        Path("models/checkpoint"),
        Path("data/splits"),
        Path("data/tokens"),
        Path("plots/train"),
        Path("metrics/evaluate.json"),
        Path("plots/evaluate"),
    )
