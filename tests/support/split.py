"""Rows to split, and the stage split on them: its parts, or with which sentence it refuses."""

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tasks import problems
from tasks.ingest import content_id
from tasks.shared.errors import InputError
from tasks.shared.files import write_json
from tasks.shared.params import Split
from tasks.shared.params.split import SPLITS
from tasks.shared.paths import Paths
from tasks.split import split

COLUMNS = problems.load("text_classification").columns
OURS = ("id", "source_file", "source_row", "source_split")


def table(texts: list[str], labels: list[str], **more: Any) -> pl.DataFrame:
    """Return rows as ingest writes them."""
    ids = [content_id(text.encode()) for text in texts]
    source = {"source_file": ["raw.csv"] * len(texts), "source_row": list(range(1, len(texts) + 1))}
    return pl.DataFrame(
        {
            "id": ids,
            "text": texts,
            "label": labels,
            **source,
            **({"source_split": [None] * len(texts)} | more),
        }
    )


def many(count: int, labels: int = 2, prefix: str = "text", **more: Any) -> pl.DataFrame:
    """Return `count` different rows."""
    return table(
        [f"{prefix} {i}" for i in range(count)], [f"label {i % labels}" for i in range(count)], **more
    )


def run(
    folder: Path, rows: pl.DataFrame, columns: dict[str, str] | None = None, **params: Any
) -> dict[str, pl.DataFrame]:
    """Split rows through files and return the parts.

    columns: the files' names for columns that stand under others in the rows.
    """
    paths = Paths(folder)
    paths.ingested.mkdir(parents=True, exist_ok=True)
    rows.write_parquet(paths.ingested / "rows.parquet")
    write_json(
        paths.ingested / "columns.json", columns or {name: name for name in rows.columns if name not in OURS}
    )
    split(Split(**params), COLUMNS, paths)
    return parts_of(folder)


def parts_of(folder: Path) -> dict[str, pl.DataFrame]:
    """Return the parts that stand in a folder."""
    return {name: pl.read_parquet(Paths(folder).split(name)) for name in SPLITS}


def refused(folder: Path, rows: pl.DataFrame, **params: Any) -> str:
    """Return the sentence with which the stage refuses rows; nothing is left behind."""
    with pytest.raises(InputError) as error:
        run(folder, rows, **params)
    assert "\n" not in str(error.value)
    assert not Paths(folder).splits.exists()
    return str(error.value)
