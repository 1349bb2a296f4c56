"""Most memory that evaluate takes, of some test rows and of four times as many, for each problem.

On the data set of each params file in examples/, with a model after one step: how well it does is no matter.
A few rows of the test split stand there as often as a batch has rows, and four times as often: so batches are
full, and alike, in both.
"""

import argparse
import sys
import tempfile
from contextlib import redirect_stdout
from pathlib import Path

import polars as pl

from benchmarks.examples import by_example, prepare
from benchmarks.measure import Options, Table, peak
from benchmarks.training import results_of
from tasks import problems
from tasks.shared import base_models
from tasks.shared.files import write_json
from tasks.shared.params import Params
from tasks.shared.params_file import load, save
from tasks.shared.paths import Paths
from tasks.tokenize import tokenize

ROWS = 8
TIMES = 4
LIMIT = 1.1
COLUMNS = ("params file", "problem", "rows", "MB", f"MB, {TIMES} times as many", "ratio", "target")


def measure(options: Options) -> list[Table]:
    """Return the sizes; those of a data set that is not there are named in a note."""
    return [by_example(Table("Memory of evaluate", COLUMNS), options, _sizes)]


def _sizes(params: Params) -> list[str]:
    """Return a row of the table."""
    params = params.model_copy(update={"train": params.train.model_copy(update={"max_steps": 1})})
    with tempfile.TemporaryDirectory(prefix="retrain-bench-") as folder:
        here = Path(folder)
        save(params, here / "params.yaml")
        prepare(params, here)
        module, file = "benchmarks.evaluate_memory", str(here / "params.yaml")
        results_of([module, "train", file], here, accuracy=False)
        size, megabytes = params.evaluate.batch_size, []
        for times in (size, TIMES * size):
            _take(params, Paths(here), times)
            megabytes.append(float(results_of([module, "evaluate", file], here, accuracy=False)["megabytes"]))
    ratio = megabytes[1] / megabytes[0]
    verdict = f"<= {LIMIT} {'met' if ratio <= LIMIT else 'MISSED'}"
    sizes = [f"{its:,.0f}" for its in megabytes]
    return [params.problem, f"{ROWS * size:,}", *sizes, f"{ratio:.2f}", verdict]


def _take(params: Params, paths: Paths, times: int) -> None:
    """Have the test split hold its first rows so many times over, as rows of their own."""
    file = paths.split("test")
    rows = pl.read_parquet(file).head(ROWS)
    again = [
        rows.with_columns(pl.format("{}-{}", pl.lit(number), "id").alias("id")) for number in range(times)
    ]
    pl.concat(again).write_parquet(file)
    # what the stage says is no part of the table
    with redirect_stdout(sys.stderr):
        tokenize(params.tokenize, params.model, problems.load(params.problem, params.own), paths)


def stage() -> None:
    """Train, or evaluate and tell how much memory that took, in the folder of the params."""
    parser = argparse.ArgumentParser()
    parser.add_argument("stage", choices=("train", "evaluate"))
    parser.add_argument("params", type=Path)
    parser.add_argument("--output_dir", type=Path)
    args = parser.parse_args()
    params, paths = load(args.params), Paths(args.params.parent)
    problem = problems.load(params.problem, params.own)
    if args.stage == "train":
        from tasks.train import train

        train(params.train, base_models.fetch(params.model), problem, paths, args.output_dir / "resume")
    else:
        from tasks.evaluate import evaluate

        evaluate(params.evaluate, problem, paths)
    write_json(args.output_dir / "all_results.json", {"megabytes": peak()})


if __name__ == "__main__":
    stage()
