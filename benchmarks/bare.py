"""The stages' functions, one after another in this process: no Prefect, no DVC, no cache.

Run in a clone: `python -m benchmarks.bare`.
"""

from pathlib import Path

from tasks import problems
from tasks.evaluate import evaluate
from tasks.ingest import ingest
from tasks.judge import judge
from tasks.package import package
from tasks.shared import base_models
from tasks.shared.params_file import load
from tasks.shared.paths import Paths
from tasks.split import split
from tasks.tokenize import tokenize
from tasks.train import train


def main() -> None:
    """Do what dvc.yaml's commands do, with the same paths and params."""
    params, paths = load(), Paths()
    problem = problems.load(params.problem)
    ingest(params.data, params.ingest, problem, paths)
    split(params.split, problem.columns, paths)
    tokenize(params.tokenize, params.model, problem, paths)
    train(params.train, base_models.fetch(params.model), problem, paths, Path(".retrain/bare"))
    evaluate(params.evaluate, problem, paths)
    package(params, problem, paths)
    judge(params.evaluate, params.promote.champion, problem, paths)


if __name__ == "__main__":
    main()
