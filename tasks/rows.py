"""Rows as a file's reader finds them, gathered into columns."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from tasks.values import written

SHOWN = 500  # characters of a row that is kept only in its reason


@dataclass(frozen=True)
class Reject:
    """A raw row that is not taken in: where it stands (1-based, header not counted), why, and what it held."""

    file: str
    row: int
    reason: str
    values: dict[str, Any]


class Row(NamedTuple):
    """A row: its number (1-based, without the header), names and values; or no names, and the reason it is none."""

    number: int
    names: Sequence[str] | None
    values: Sequence[Any] = ()
    reason: str = ""


@dataclass
class Read:
    """What one file holds: columns, the numbers of the rows in them, what is no row, and what was found out."""

    columns: dict[str, Any]  # lists of texts, or polars' series
    numbers: list[int]
    rejects: list[Reject] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def clean(column: str) -> str:
    """Return the name of a column without blanks around it or a byte order mark."""
    return column.strip().lstrip("\ufeff")


def twice(names: Sequence[str]) -> list[str]:
    """Return the names that occur more than once, sorted."""
    return sorted({name for name in names if names.count(name) > 1}) if len(set(names)) < len(names) else []


def gather(rows: Iterable[Row], name: str) -> Read:
    """Turn rows into columns of strings: text formats either have no types or do not keep them from row to row."""
    columns: dict[str, list[str | None]] = {}
    found = Read(columns, [])
    names: Sequence[str] = ()
    for row in rows:
        if row.names is None:
            found.rejects.append(Reject(name, row.number, row.reason, {}))
            continue
        texts = [value if isinstance(value, str) else written(value) for value in row.values]
        if not all(map(_is_text, texts)):
            found.rejects.append(Reject(name, row.number, "unreadable: half a character (a lone surrogate)", {}))
            continue
        if row.names is not names:
            # one list for all rows where a header names them, another in each row of JSON
            names = row.names
            for column in names:
                if column not in columns:
                    columns[column] = [None] * len(found.numbers)
            there = [columns[column] for column in names]
            elsewhere = [kept for column, kept in columns.items() if column not in names]
        for kept, text in zip(there, texts, strict=True):
            kept.append(text)
        for kept in elsewhere:
            kept.append(None)
        found.numbers.append(row.number)
    return found


def _is_text(value: str | None) -> bool:
    """Return whether a value can be written as UTF-8: JSON can spell half of a surrogate pair."""
    if value is None or value.isascii():
        return True
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True
