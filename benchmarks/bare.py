"""The six stages' functions, one after another in this process: no Prefect, no DVC, no cache. Run in a clone: `python -m benchmarks.bare`."""

from pathlib import Path

from tasks import problems
from tasks.evaluate import evaluate
from tasks.ingest import ingest
from tasks.package import package
from tasks.shared.params_file import load
from tasks.split import split
from tasks.tokenize import tokenize
from tasks.train import train

INGESTED, SPLITS, TOKENS = Path("data/ingested"), Path("data/splits"), Path("data/tokens")
CHECKPOINT, PACKAGE = Path("models/checkpoint"), Path("models/package")
METRICS, PLOTS = Path("metrics"), Path("plots")


def main() -> None:
    """Do what dvc.yaml's six commands do, with the same paths and params."""
    params = load()
    problem = problems.load(params.problem)
    ingest(params.data, params.ingest, problem, INGESTED, METRICS / "ingest.json")
    split(params.split, INGESTED, SPLITS, METRICS / "split.json")
    tokenize(params.tokenize, params.model, problem, SPLITS, TOKENS, METRICS / "tokenize.json")
    train(params.train, params.model, problem, TOKENS, CHECKPOINT, METRICS / "train.json", PLOTS / "train", Path(".retrain/bare"))
    evaluate(params.evaluate, problem, CHECKPOINT, SPLITS, TOKENS, PLOTS / "train", METRICS / "evaluate.json", PLOTS / "evaluate")
    package(params, problem, CHECKPOINT, SPLITS, METRICS, PLOTS / "evaluate/predictions.csv", PACKAGE, METRICS / "package.json")


if __name__ == "__main__":
    main()
