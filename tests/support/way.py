"""The stages' own functions, one after another in a folder, on the embedded tickets: the whole way in seconds, with any base model."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import polars as pl

from tasks import problems
from tasks.evaluate import evaluate
from tasks.ingest import content_id
from tasks.package import package
from tasks.shared import base_models
from tasks.shared.files import read_json, write_json
from tasks.shared.params import SPLITS, Model, Params
from tasks.shared.params_file import load
from tasks.tokenize import tokenize
from tasks.train import train
from tests.support.project import ROOT

PROBLEM = problems.load("text_classification")
TICKETS = ROOT / "data/raw/tickets.csv"

# the shortest and the longest
ODD = ["ok", "where is it " * 60]


@dataclass
class Way:
    """A folder in which the stages run, from splits that are all the same rows."""

    folder: Path
    base: Path
    changes: dict[str, dict[str, Any]]

    @cached_property
    def params(self) -> Params:
        """The project's own params, the base model and this test's changes laid over them."""
        model = base_models.resolve(Model(name=str(self.base)))
        whole = load(ROOT / "params.yaml").model_copy(update={"model": model}).model_dump()
        for section, values in {"train": {"num_train_epochs": 1.0}, "evaluate": {"n_resamples": 100}, **self.changes}.items():
            whole[section] |= values
        return Params.model_validate(whole, context={"whole": True})

    def write_splits(self, texts: list[str] | None = None, labels: list[str] | None = None) -> None:
        """Write three equal splits: the given rows, or odd ones and tickets of three labels."""
        tickets = pl.read_csv(TICKETS).filter(pl.col("label").is_in(["order_status", "product_question", "feedback"]))
        some = tickets.gather_every(max(1, tickets.height // 24))
        texts = texts or [*ODD, *some["text"].to_list()]
        labels = labels or [*some["label"].to_list()[: len(ODD)], *some["label"].to_list()]
        rows = pl.DataFrame({"id": [content_id(text.encode()) for text in texts], "text": texts, "label": labels})
        (self.folder / "splits").mkdir(parents=True, exist_ok=True)
        for name in SPLITS:
            rows.write_parquet(self.folder / f"splits/{name}.parquet")
        write_json(self.folder / "metrics/ingest.json", {"rows": rows.height})
        write_json(self.folder / "metrics/split.json", dict.fromkeys(SPLITS, rows.height))

    def tokenize(self) -> Any:
        """Run tokenize and return its metrics."""
        metrics = self.folder / "metrics/tokenize.json"
        tokenize(self.params.tokenize, self.params.model, PROBLEM, self.folder / "splits", self.folder / "tokens", metrics)
        return read_json(metrics)

    def train(self) -> Any:
        """Run train and return its metrics."""
        metrics, resume = self.folder / "metrics/train.json", self.folder / "resume"
        checkpoint, plots = self.folder / "checkpoint", self.folder / "plots/train"
        train(self.params.train, self.params.model, PROBLEM, self.folder / "tokens", checkpoint, metrics, plots, resume)
        return read_json(metrics)

    def evaluate(self) -> Any:
        """Run evaluate and return its metrics."""
        metrics, plots = self.folder / "metrics/evaluate.json", self.folder / "plots/evaluate"
        checkpoint, tokens = self.folder / "checkpoint", self.folder / "tokens"
        evaluate(self.params.evaluate, PROBLEM, checkpoint, self.folder / "splits", tokens, self.folder / "plots/train", metrics, plots)
        return read_json(metrics)

    def package(self) -> Any:
        """Run package, which serves what it made and compares, and return its metrics."""
        metrics, predictions = self.folder / "metrics", self.folder / "plots/evaluate/predictions.csv"
        checkpoint, out = self.folder / "checkpoint", self.folder / "package"
        package(self.params, PROBLEM, checkpoint, self.folder / "splits", metrics, predictions, out, metrics / "package.json")
        return read_json(metrics / "package.json")


def way(folder: Path, base: Path, **changes: dict[str, Any]) -> Way:
    """Return a way in `folder` with its splits written, for a base model and changed params by section."""
    made = Way(folder, base, changes)
    made.write_splits()
    return made
