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
from tasks.shared.params import Model, Params
from tasks.shared.params.split import SPLITS
from tasks.shared.params_file import load
from tasks.shared.paths import Paths
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
    # None: `changes` say what model there is
    base: Path | None
    changes: dict[str, dict[str, Any]]

    @cached_property
    def params(self) -> Params:
        """The project's own params, the base model and this test's changes laid over them."""
        own = self.changes.get("model", {})
        model = base_models.resolve(Model(**({"name": str(self.base)} if self.base else {}), **own))
        whole = load(ROOT / "params.yaml").model_copy(update={"model": model}).model_dump()
        for section, values in {
            "train": {"num_train_epochs": 1.0},
            "evaluate": {"n_resamples": 100},
            **self.changes,
        }.items():
            whole[section] |= values
        return Params.model_validate(whole, context={"whole": True})

    @property
    def paths(self) -> Paths:
        """Where the stages' outputs are."""
        return Paths(self.folder)

    def write_splits(self, texts: list[str] | None = None, labels: list[str] | None = None) -> None:
        """Write three equal splits: the given rows, or odd ones and tickets of three labels."""
        tickets = pl.read_csv(TICKETS).filter(
            pl.col("label").is_in(["order_status", "product_question", "feedback"])
        )
        some = tickets.gather_every(max(1, tickets.height // 24))
        texts = texts or [*ODD, *some["text"].to_list()]
        labels = labels or [*some["label"].to_list()[: len(ODD)], *some["label"].to_list()]
        rows = pl.DataFrame(
            {"id": [content_id(text.encode()) for text in texts], "text": texts, "label": labels}
        )
        self.paths.splits.mkdir(parents=True, exist_ok=True)
        for name in SPLITS:
            rows.write_parquet(self.paths.split(name))
        write_json(self.paths.metric("ingest"), {"rows": rows.height})
        write_json(self.paths.metric("split"), dict.fromkeys(SPLITS, rows.height))

    def tokenize(self) -> Any:
        """Run tokenize and return its metrics."""
        tokenize(self.params.tokenize, self.params.model, PROBLEM, self.paths)
        return read_json(self.paths.metric("tokenize"))

    def train(self, *, retries: bool = True) -> Any:
        """Run train and return its metrics."""
        train(
            self.params.train,
            base_models.fetch(self.params.model),
            PROBLEM,
            self.paths,
            self.folder / "resume",
            retries=retries,
        )
        return read_json(self.paths.metric("train"))

    def evaluate(self) -> Any:
        """Run evaluate and return its metrics."""
        evaluate(self.params.evaluate, PROBLEM, self.paths)
        return read_json(self.paths.metric("evaluate"))

    def package(self) -> Any:
        """Run package, which serves what it made and compares, and return its metrics."""
        package(self.params, PROBLEM, self.paths)
        return read_json(self.paths.metric("package"))


def way(folder: Path, base: Path | None, **changes: dict[str, Any]) -> Way:
    """Return a way in `folder` with its splits written, for a base model and changed params by section."""
    made = Way(folder, base, changes)
    made.write_splits()
    return made
