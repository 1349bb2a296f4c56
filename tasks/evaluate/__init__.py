"""Measure the checkpoint on the test split only, beside what anyone gets without a transformer."""

import math
from typing import Any

import polars as pl

from tasks.evaluate import figures
from tasks.evaluate.sampling import sample
from tasks.problems import Problem, Targets
from tasks.problems.common import predicting
from tasks.shared import bootstrap, measured, predictions
from tasks.shared.engine import LOCAL, Engine
from tasks.shared.errors import InputError, did_you_mean
from tasks.shared.files import read_json, write_json
from tasks.shared.params import Evaluate
from tasks.shared.paths import Paths
from tasks.shared.pictures import save
from tasks.shared.statistics import METRICS, values
from tasks.shared.values import as_text

# values of a column that are looked at one by one
MOST_SLICES = 100


def evaluate(params: Evaluate, problem: Problem, paths: Paths, engine: Engine = LOCAL) -> None:
    """Write the test scores with their intervals and baselines, and tables and pictures that explain them.

    metrics/evaluate.json: all that was measured; beside it scores.json, the numbers alone, for DVC's tables.
    plots: predictions.csv (id, what was actual and predicted, and what else the problem knows;
    a row per test row, in the split's order), statistics.arrow (what each row adds to each metric),
    a file in `baselines` of what each row adds to those of a baseline,
    mistakes.csv, samples.csv where the problem has some, and pictures in `figures`.
    Raises InputError when the model answers with what is no finite number.
    """
    problem.media = paths.media
    targets = read_json(paths.tokens / "targets.json")
    train, test = (pl.read_parquet(paths.split(name)) for name in ("train", "test"))
    groups = test["source_group"] if "source_group" in test.columns else None
    slices = _slices(test, params.slices)
    predicted = predict(problem, targets, paths, params.batch_size, engine)
    statistics = problem.measure(predicted, test, targets)
    scores = _defined(bootstrap.scores(statistics, params, groups))
    if problem.headline not in scores:
        raise InputError(f"{problem.headline} is not defined on these {test.height} test rows; add rows")
    higher = METRICS[statistics[problem.headline].metric].higher_is_better
    scores["headline"] = {"name": problem.headline, "higher_is_better": higher}
    scores["baselines"] = {}
    known = sample(train, problem.columns)
    if known.height < train.height:
        scores["baseline_rows"] = known.height
        print(f"baselines learn from {known.height} of {train.height} train rows", flush=True)
    for name, its in baselines(problem, known, test, targets, paths).items():
        measured_so = problem.measure(its, test, targets)
        scores["baselines"][name] = _defined(values(measured_so))
        by_row = measured.Measured(test["id"], dict(measured_so), groups, slices)
        measured.write(by_row, paths.baselines / f"{name}.arrow")
    if params.slices:
        scores["slices"] = bootstrap.by_slice(statistics, slices, params, groups).to_dicts()
    write_json(paths.metric("evaluate"), scores)
    numbers = {name: value for name, value in scores.items() if isinstance(value, int | float)}
    write_json(paths.metric("scores"), numbers)

    by_row = measured.Measured(test["id"], dict(statistics), groups, slices)
    measured.write(by_row, paths.plots / "statistics.arrow")
    _explain(predicted, test, targets, params.worst_mistakes, problem, paths)
    _say(scores)


def _explain(
    predicted: pl.DataFrame,
    test: pl.DataFrame,
    targets: Targets,
    worst_mistakes: int,
    problem: Problem,
    paths: Paths,
) -> None:
    """Write what people look at: predictions, the worst mistakes, samples and pictures."""
    compared = problem.comparable(test)
    predictions.write(predicted, compared, problem.columns, paths.plots / "predictions.csv")
    worst = predictions.mistakes(predicted, compared, problem.columns, worst_mistakes)
    worst.write_csv(paths.plots / "mistakes.csv", float_precision=6)
    samples = problem.samples(predicted, test)
    if samples is not None:
        samples.write_csv(paths.plots / "samples.csv")
    pictures = problem.draw(predicted, test, targets)
    curve = {"learning_curve": figures.learning_curve(paths.curves)}
    save(pictures | curve, paths.plots / "figures")


def baselines(
    problem: Problem, train: pl.DataFrame, test: pl.DataFrame, targets: Targets, paths: Paths
) -> dict[str, pl.DataFrame]:
    """Return what is predicted for the test rows without a transformer, from rows and from tokens."""
    from datasets import Dataset

    known, asked = (Dataset.from_file(str(paths.tokens / f"{name}.arrow")) for name in ("train", "test"))
    return problem.baselines(train, test, targets) | problem.token_baselines(known, asked, test.height)


def _slices(test: pl.DataFrame, names: list[str]) -> pl.DataFrame:
    """Return the columns whose values are looked at one by one, as text, or raise InputError."""
    for name in names:
        if name not in test.columns:
            missing = f"there is no column '{name}'{did_you_mean(name, test.columns) or '.'}"
            raise InputError(f"evaluate.slices: {missing} It has {', '.join(test.columns)}")
        count = test[name].n_unique()
        if count > MOST_SLICES:
            many = f"'{name}' has {count} values"
            raise InputError(f"evaluate.slices: {many}; name a column of {MOST_SLICES} at most")
    return pl.DataFrame([as_text(test[name]) for name in names])


def predict(
    problem: Problem, targets: Targets, paths: Paths, batch_size: int, engine: Engine = LOCAL
) -> pl.DataFrame:
    """Return what the checkpoint predicts for each test row, in its order.

    Raises InputError when a prediction is no finite number.
    """
    test = pl.read_parquet(paths.split("test"))
    inputs = paths.tokens / "test.arrow"
    return predicting.predict_with(
        problem, paths.checkpoint, inputs, test, targets, batch_size, "evaluate", engine
    )


def _defined(scores: dict[str, Any]) -> dict[str, Any]:
    """Return the scores without those that the rows do not define, nor their intervals."""
    numbers = {name: value for name, value in scores.items() if isinstance(value, float)}
    undefined = {name for name, value in numbers.items() if not math.isfinite(value)}
    defined = {name: value for name, value in scores.items() if name not in undefined}
    if "interval" in scores:
        ends = {name: ends for name, ends in scores["interval"].items() if name not in undefined}
        defined["interval"] = {name: pair for name, pair in ends.items() if all(map(math.isfinite, pair))}
    return defined


def _say(scores: dict[str, Any]) -> None:
    for name, (low, high) in scores["interval"].items():
        beside = ""
        for baseline, its in scores["baselines"].items():
            beside += f"  {baseline} {its[name]:.4f}" if name in its else ""
        print(f"{name} {scores[name]:.4f} [{low:.4f}, {high:.4f}]{beside}")
