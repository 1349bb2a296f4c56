"""Training examples per second and test accuracy: our train stage beside a plain Trainer script.

The script is benchmarks/run_classification.py. Every program fine-tunes the same model on the same rows with
the same recipe and seed, in a process of its own, in turn; what is timed is the training loop alone.
Accuracy, on the test split, comes from the first turn: the others repeat its bits; after a given number of
steps it is left out, because it would say little and predicting takes longer than those steps.
The plain script runs as it comes (a: every row padded to 128 tokens, fp32), then with the flags that help
most (b: padded to the longest of the batch, rows of like length together; c: without the latter).
(d) adds --bf16 to (b), which we choose by ourselves where the device has it:
what lead is left there is ours alone.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import polars as pl

from benchmarks.measure import ROOT, Options, Table, compare, in_turn
from tasks import problems
from tasks.ingest import ingest
from tasks.shared import base_models, devices
from tasks.shared.files import read_json, write_json
from tasks.shared.params import Params
from tasks.shared.params_file import load, save
from tasks.shared.paths import Paths
from tasks.split import split
from tasks.tokenize import tokenize

REPEAT = 3
OURS = "ours"
DYNAMIC = ("--pad_to_max_length", "False")
GROUPED = (*DYNAMIC, "--train_sampling_strategy", "group_by_length")
PLAIN = {
    "(a) plain: pad to 128": (),
    "(b) plain: dynamic, grouped": GROUPED,
    "(c) plain: dynamic padding": DYNAMIC,
    "(d) plain: (b) with --bf16": (*GROUPED, "--bf16", "True"),
}


def measure(options: Options) -> list[Table]:
    """Return the rates beside each other, with the accuracies as notes, and how far a GPU was used."""
    with tempfile.TemporaryDirectory(prefix="retrain-bench-") as folder:
        here = Path(folder)
        # what stages say is no part of the tables
        with redirect_stdout(sys.stderr):
            params = prepare(here, options)
        rows = pl.scan_parquet(Paths(here).split("train")).select(pl.len()).collect().item()
        found: dict[str, dict[str, Any]] = {}

        def program(name: str, words: list[str]) -> Callable[[], float]:
            def run() -> float:
                results = results_of(words, here, accuracy=options.epochs is not None and name not in found)
                found[name] = {**results, **found.get(name, {})}
                return num_examples(results["steps"], rows, options.batch_size) / float(results["seconds"])

            return run

        programs = {OURS: program(OURS, ["benchmarks.training", str(here / "params.yaml")])}
        plain = {name: flags for name, flags in PLAIN.items() if name[1] in options.plain}
        programs |= {
            name: program(name, ["benchmarks.run_classification", *_flags(params, here), *flags])
            for name, flags in plain.items()
        }
        measured = in_turn(programs, options.repeat or REPEAT)
        length = f"{options.epochs:g} epochs" if options.epochs else f"{options.steps} steps"
        data = options.data.name if options.data else "the embedded tickets"
        title = f"Training on {data} ({rows} rows), {length} of {options.batch_size}"
        table = compare(title, "examples/s", measured, OURS, {})
        table.columns = (*table.columns[:-1], "test accuracy")
        for row in table.rows:
            row[-1] = f"{found[row[0]]['accuracy']:.4f}" if options.epochs else "skipped"
        if not options.epochs:
            table.notes.append("test accuracy is measured after whole epochs only: --full, or --epochs N")
        gpu = found[OURS].get("gpu")
        if gpu is None:
            table.notes.append("no CUDA device: GPU row skipped")
            return [table]
        return [table, Table(f"Our use of {gpu.pop('device')}", tuple(gpu), [list(gpu.values())])]


def prepare(here: Path, options: Options) -> Params:
    """Ingest, split and tokenize into `here`; write the params for our runs and the plain script's rows."""
    params = load(ROOT / "params.yaml")
    length = {"num_train_epochs": options.epochs} if options.epochs else {"max_steps": options.steps}
    changes: dict[str, dict[str, Any]] = {
        "data": {"path": str(ROOT / params.data.path)},
        "train": {
            "per_device_train_batch_size": options.batch_size,
            "eval_strategy": "steps",
            "eval_steps": 10**9,
            **length,
        },
    }
    if options.data:
        files = {"train_file": "train.csv", "test_file": "test.csv"}
        changes["data"] = {"path": str(options.data.resolve()), "columns": {"label": "category"}, **files}
        changes["split"] = {"method": "predefined"}
    params = params.model_copy(
        update={name: getattr(params, name).model_copy(update=change) for name, change in changes.items()}
    )
    problem = problems.load(params.problem)
    paths = Paths(here)
    ingest(params.data, params.ingest, problem, paths)
    split(params.split, problem.columns, paths)
    tokenize(params.tokenize, params.model, problem, paths)
    for name in ("train", "test"):
        pl.read_parquet(paths.split(name)).select("text", "label").write_csv(here / f"{name}.csv")
    save(params, here / "params.yaml")
    return params


def _flags(params: Params, here: Path) -> list[str]:
    """Return our recipe and what it works on as flags of the plain script."""
    given = {
        "model_name_or_path": base_models.fetch(params.model),
        "train_file": here / "train.csv",
        "test_file": here / "test.csv",
    }
    given = recipe(params) | given | {"max_seq_length": params.tokenize.max_length}
    return [word for name, value in given.items() for word in (f"--{name}", str(value))]


def recipe(params: Params) -> dict[str, Any]:
    """Return our recipe as arguments of a plain Trainer."""
    same = (
        "num_train_epochs",
        "max_steps",
        "learning_rate",
        "lr_scheduler_type",
        "warmup_steps",
        "optim",
        "weight_decay",
        "max_grad_norm",
        "adam_beta1",
        "adam_beta2",
        "adam_epsilon",
        "gradient_accumulation_steps",
        "seed",
    )
    given: dict[str, Any] = {name: getattr(params.train, name) for name in same}
    given |= {
        name: getattr(params.train, name)
        for name in ("per_device_train_batch_size", "per_device_eval_batch_size")
    }
    return given | {
        "eval_strategy": "no",
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
        "use_cpu": devices.kind() == "cpu",
    }


def results_of(
    words: list[str], here: Path, *, accuracy: bool, variables: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Run a module in a process of its own, with these variables, and return what it measured."""
    with tempfile.TemporaryDirectory(dir=here) as out:
        command = [sys.executable, "-m", *words, "--output_dir", out, *(["--do_predict"] if accuracy else [])]
        environment = {**os.environ, **(variables or {})}
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(
                f"{' '.join(command)} ended with {done.returncode}\n{done.stdout}\n{done.stderr}"
            )
        results: dict[str, Any] = read_json(Path(out) / "all_results.json")
        return results


def num_examples(steps: int, rows: int, batch_size: int) -> int:
    """Return how many rows some steps take; the last batch of an epoch is smaller."""
    per_epoch = -(-rows // batch_size)
    return steps // per_epoch * rows + min(steps % per_epoch * batch_size, rows)


def ours() -> None:
    """Train as `python -m tasks.train` does, with a stopwatch, on what `prepare` wrote beside the params."""
    parser = argparse.ArgumentParser()
    parser.add_argument("params", type=Path)
    parser.add_argument("--output_dir", type=Path)
    parser.add_argument("--do_predict", action="store_true")
    args = parser.parse_args()
    from transformers.trainer import DEFAULT_CALLBACKS

    from benchmarks import gpu
    from benchmarks.stopwatch import Stopwatch
    from tasks.train import train

    stopwatch = Stopwatch()
    DEFAULT_CALLBACKS.append(stopwatch)
    params, prepared, paths = load(args.params), Paths(args.params.parent), Paths(args.output_dir)
    paths.media, paths.splits, paths.tokens = prepared.media, prepared.splits, prepared.tokens
    problem = problems.load(params.problem, params.own)
    train(params.train, base_models.fetch(params.model), problem, paths, args.output_dir / "resume")
    results: dict[str, Any] = {"seconds": stopwatch.seconds, "steps": stopwatch.steps}
    results["gpu"] = gpu.use(params.train, paths.tokens / "train.arrow", paths.checkpoint, stopwatch)
    if args.do_predict:
        from tasks.evaluate import predict

        targets = read_json(paths.tokens / "targets.json")
        predicted = predict(problem, targets, paths, params.evaluate.batch_size)["predicted"]
        results["accuracy"] = (predicted == pl.read_parquet(paths.split("test"))["label"]).mean()
    write_json(args.output_dir / "all_results.json", results)


if __name__ == "__main__":
    ours()
