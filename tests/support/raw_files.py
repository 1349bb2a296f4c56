"""Raw files, and what the readers make of them."""

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tasks.ingest.readers import read
from tasks.shared.errors import InputError
from tasks.shared.params import Data

PAIRS = [("hello", "greet"), ("bye", "leave")]


def write(path: Path, content: str | bytes) -> Path:
    """Write a file, and the folders it stands in."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def pairs(table: pl.DataFrame) -> list[tuple[Any, ...]]:
    """Return the rows of the first two columns."""
    return table.select(table.columns[:2]).rows()


def taken(path: Path, **params: Any) -> list[tuple[Any, ...]]:
    """Return the first two columns of a file that has no bad rows."""
    table, rejects, _ = read(Data(path=str(path), **params))
    assert rejects == []
    return pairs(table)


def refused(path: Path, **params: Any) -> str:
    """Return the sentence with which a file is refused."""
    with pytest.raises(InputError) as error:
        read(Data(path=str(path), **params))
    assert "\n" not in str(error.value)
    return str(error.value)
