"""The stage ingest on a file: what it leaves, or with which sentence it refuses."""

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tasks import problems
from tasks.ingest import ingest
from tasks.shared.errors import InputError
from tasks.shared.files import read_json
from tasks.shared.params import Data, Ingest
from tasks.shared.paths import Paths

PROBLEM = problems.load("text_classification")
LENIENT = {"max_rejected": 0.9}


class Ingested:
    """What the stage left behind."""

    def __init__(self, folder: Path) -> None:
        self.rows = pl.read_parquet(Paths(folder).ingested / "rows.parquet")
        self.rejected = [
            json.loads(line)
            for line in (Paths(folder).ingested / "rejected.jsonl").read_text("utf-8").splitlines()
        ]
        self.metrics = read_json(Paths(folder).metric("ingest"))

    @property
    def pairs(self) -> list[tuple[Any, ...]]:
        """The text and label of every row."""
        return self.rows.select("text", "label").rows()


def run(folder: Path, source: Path, columns: dict[str, str] | None = None, **params: Any) -> Ingested:
    """Ingest a file into `folder`."""
    ingest(Data(path=str(source), columns=columns or {}), Ingest(**params), PROBLEM, Paths(folder))
    return Ingested(folder)


def csv(folder: Path, *lines: str) -> Path:
    """Write the lines of a CSV file."""
    file = folder / "raw.csv"
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return file


def refused(folder: Path, source: Path, columns: dict[str, str] | None = None, **params: Any) -> str:
    """Return the sentence with which the stage refuses a file; nothing is left behind."""
    with pytest.raises(InputError) as error:
        run(folder, source, columns, **params)
    assert "\n" not in str(error.value)
    assert not Paths(folder).ingested.exists()
    return str(error.value)
