"""Measure the checkpoint on the test split only, beside the baselines that anyone gets without a transformer."""

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from tasks import problems as problems
from tasks.evaluate import figures
from tasks.problems import Problem, Scored
from tasks.shared import slots as slots
from tasks.shared.errors import InputError
from tasks.shared.files import read_json, write_json
from tasks.shared.params import Evaluate
from tasks.shared.progress import Progress
from tasks.shared.stage import stage as stage


def evaluate(params: Evaluate, problem: Problem, checkpoint: Path, splits: Path, tokens: Path, curves: Path, metrics: Path, plots: Path) -> None:
    """Write the test scores with their intervals and baselines, and the tables and pictures that explain them.

    metrics: all that was measured; beside it scores.json, the scores of the whole test split, which DVC's tables show.
    plots: predictions.csv (id, actual, predicted, confidence; a row per test row, in the split's order), mistakes.csv (the most
    confident mistakes), reliability.csv, confusion_matrix.png, and learning_curve.png from the `curves` that train wrote.
    """
    labels: list[str] = read_json(tokens / "labels.json")["labels"]
    test = pl.read_parquet(splits / "test.parquet")
    logits = predict(problem, checkpoint, labels, tokens / "test.arrow", params.batch_size)
    scored = problem.score(logits, test, labels, params)
    baselines = problem.baselines(pl.read_parquet(splits / "train.parquet"), test, labels)
    headline = {"name": problem.headline, "higher_is_better": True}
    write_json(metrics, {**scored.metrics, "headline": headline, "baselines": baselines})
    numbers = {name: value for name, value in scored.metrics.items() if isinstance(value, int | float)}
    write_json(metrics.with_name("scores.json"), numbers)

    plots.mkdir(parents=True, exist_ok=True)
    scored.predictions.write_csv(plots / "predictions.csv", float_precision=6)
    mistakes(scored.predictions, problem.show(test), params.worst_mistakes).write_csv(plots / "mistakes.csv", float_precision=6)
    reliability = pl.DataFrame(scored.reliability, ["confidence_up_to", "share", "accuracy", "confidence"], orient="row")
    reliability.write_csv(plots / "reliability.csv", float_precision=6)
    figures.confusion_matrix(scored.predictions, labels, plots / "confusion_matrix.png")
    figures.learning_curve(curves, plots / "learning_curve.png")
    _say(scored, baselines)


def predict(problem: Problem, checkpoint: Path, labels: list[str], tokens: Path, batch_size: int) -> np.ndarray:
    """Return the logits (n, number of labels) float32 of an Arrow file's n rows, in its order.

    In fp32, as `transformers.pipeline` serves the model; rows of like length share a batch, so that little is padded.
    Raises InputError when one is no finite number.
    """
    import torch
    from datasets import Dataset
    from transformers.utils import logging

    logging.disable_progress_bar()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    processor = problem.load_processor(checkpoint)
    model = problem.model(checkpoint, labels, processor)[0].to(device).eval()
    collate = problem.collator(processor)
    data = Dataset.from_file(str(tokens))
    order = np.argsort(data.data["length"].to_numpy(), kind="stable")[::-1]
    rows = data.remove_columns(["length", "labels"])
    logits = np.empty((len(rows), len(labels)), np.float32)
    progress = Progress("evaluate", len(rows), unit="row")
    with torch.inference_mode():
        for start in range(0, len(order), batch_size):
            some = order[start : start + batch_size]
            batch = collate([rows[int(i)] for i in some])
            logits[some] = model(**{name: tensor.to(device) for name, tensor in batch.items()}).logits.float().cpu().numpy()
            progress.update(start + len(some))
    progress.close()
    if not np.isfinite(logits).all():
        bad = int((~np.isfinite(logits).all(axis=1)).sum())
        raise InputError(
            f"the model answers {bad} of {len(logits)} test rows with NaN or infinity, so it is not used; "
            "train it again with a lower train.learning_rate"
        )
    return logits


def mistakes(predictions: pl.DataFrame, shown: list[str], most: int) -> pl.DataFrame:
    """Return the `most` wrong predictions the model was surest of, with the row as a person would recognise it."""
    wrong = predictions.with_columns(row=pl.Series(shown, dtype=pl.String)).filter(pl.col("actual") != pl.col("predicted"))
    return wrong.sort(["confidence", "id"], descending=[True, False]).head(most).select("confidence", "actual", "predicted", "row", "id")


def _say(scored: Scored, baselines: dict[str, Any]) -> None:
    for name, (low, high) in scored.metrics["interval"].items():
        beside = "".join(f"  {baseline} {scores[name]:.4f}" for baseline, scores in baselines.items() if name in scores)
        print(f"{name} {scored.metrics[name]:.4f} [{low:.4f}, {high:.4f}]{beside}")
