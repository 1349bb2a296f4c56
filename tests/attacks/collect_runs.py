"""Six real `retrain run --isolated` at once while garbage is collected over and over: each has its model in the end, and its experiment."""

import os
from collections.abc import Iterator
from pathlib import Path
from random import Random

import yaml

from flows.git.commands import git
from flows.ledger.experiments import experiments
from tests.attacks import Attempt
from tests.attacks.collect import TOGETHER, fault, garbage_collected
from tests.support.forking import forking, interpreter
from tests.support.project import make_tiny_model, tiny_project
from tests.support.server import prefect_server

LONG, SHORT = TOGETHER, 2
QUICK = ("--train.max-steps", "2", "--evaluate.n-resamples", "100")


def attempts(seed: int, count: int, scratch: Path) -> Iterator[Attempt]:
    """Yield runs, each at a learning rate of its own, that garbage was collected beside."""
    for name in ("base", "python"):
        (scratch / name).mkdir()
    make_tiny_model(scratch / "base")
    python = interpreter(scratch / "python", os.getpid())
    project = forking(tiny_project(scratch / "home", scratch / "base"), python)
    os.environ.update(project.env)
    chance = Random(seed)  # noqa: S311 (the same attempt again, no secret)
    rates = [f"{rate / 1e5:g}" for rate in chance.sample(range(1, 1000), count)]
    with prefect_server(scratch / "server") as url, garbage_collected(project.root) as is_collecting:
        project.env["PREFECT_API_URL"] = url
        words = ("flows", "run", "--isolated", *QUICK, "--train.learning-rate")
        running = {rate: project.popen(*words, rate) for rate in rates}
        said = {rate: process.communicate()[0] for rate, process in running.items()}
        collects = is_collecting()
    of_rate = {}
    for experiment in experiments(project.root):
        params = yaml.safe_load(git(project.root, "show", f"{experiment.commit}:params.yaml"))
        of_rate[f"{params['train']['learning_rate']:g}"] = experiment.name
    for rate, process in running.items():
        name = of_rate.get(rate, "none")
        wrong = fault(project.root, name, process.returncode, is_collecting=collects)
        yield Attempt(f"seed {seed}: at rate {rate}", wrong and f"{wrong}: {said[rate][-1500:]}")
