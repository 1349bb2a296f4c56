"""`python -m tasks.package`: the stage as dvc.yaml runs it."""

from pathlib import Path

from tasks import problems
from tasks.package import package
from tasks.shared import slots
from tasks.shared.stage import stage

with stage("package") as params, slots.device("package"):
    package(
        params,
        problems.load(params.problem),
        Path("models/checkpoint"),
        Path("data/splits"),
        Path("metrics"),
        Path("plots/evaluate/predictions.csv"),
        Path("models/package"),
        Path("metrics/package.json"),
    )
