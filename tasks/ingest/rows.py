"""Rows as a file's reader finds them, gathered into columns."""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from tasks.shared.errors import InputError
from tasks.shared.params import Data
from tasks.shared.values import written

# rows that come together from the process that reads
AT_ONCE = 16_384
# characters of a row that is kept only in its reason
SHOWN = 500


@dataclass(frozen=True)
class Reject:
    """A raw row that is not taken in: where it stands (1-based, without the header), why, what it held."""

    file: str
    row: int
    reason: str
    values: dict[str, Any]


class Row(NamedTuple):
    """A row: its number (1-based, without the header), names and values; or no names, and why it is none."""

    number: int
    names: Sequence[str] | None
    values: Sequence[Any] = ()
    reason: str = ""


@dataclass(frozen=True)
class Wanted:
    """What a problem wants of each file."""

    # the problem's name for each of the file's columns that must be there
    columns: Mapping[str, str] = field(default_factory=dict)
    # those of the file's columns where a cell may hold a list
    lists: Collection[str] = ()
    # what the columns of a row without names are called
    names: Sequence[str] = ()
    # reads a file that is no table, such as CoNLL, as rows by their columns' names
    own: Callable[[Path, Data], Iterator[dict[str, Any]] | None] = lambda *_: None
    # those of the file's columns where a cell may hold an object
    objects: Collection[str] = ()
    # that of the file's columns whose values are files, and the endings that these may have
    media: str | None = None
    media_endings: Collection[str] = ()
    # where those are written that stand in a table
    embedded: Path = Path()

    def is_media(self, path: Path) -> bool:
        """Return whether a file is a picture or sound of a row, by its ending."""
        return path.suffix.lower() in self.media_endings


@dataclass
class Read:
    """What one file holds: columns, the numbers of their rows, what is no row, and what was found out."""

    # lists of texts, Arrow's arrays, or polars' series
    columns: dict[str, Any]
    # a list, or polars' series
    numbers: Any
    rejects: list[Reject] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    # columns of which earlier parts of the file have rows, and which are not taken after all
    left_out: list[str] = field(default_factory=list)


def limit_columns(name: str, columns: int, params: Data) -> None:
    """Raise InputError when a file has too many columns."""
    if columns > params.max_columns:
        many = f"more than {params.max_columns} columns (data.max_columns), all rows and files together"
        raise InputError(f"{name}: {many}; if that is what it holds: --data.max_columns {2 * columns}")


def limit_field(name: str, row: int, longest: int, params: Data) -> None:
    """Raise InputError when a field of a file is too long."""
    if longest > params.max_field_chars:
        most = params.max_field_chars
        long = f"row {row} has a field of {longest} characters, more than data.max_field_chars {most}"
        remedy = f"raise it if that is what the file holds: --data.max_field_chars {longest}"
        raise InputError(f"{name}: {long}; {remedy}")


def clean(column: str) -> str:
    """Return the name of a column without blanks around it or a byte order mark."""
    return column.strip().lstrip("\ufeff")


def twice(names: Sequence[str]) -> list[str]:
    """Return the names that occur more than once, sorted."""
    if len(set(names)) == len(names):
        return []
    return sorted(name for name, times in Counter(names).items() if times > 1)


def gather(rows: Iterable[Row], name: str, params: Data) -> Read:
    """Turn rows into columns of strings.

    Text formats either have no types or do not keep them from row to row. Raises InputError for more columns,
    all rows together, than data.max_columns.
    """
    columns: dict[str, list[str | None]] = {}
    found = Read(columns, [])
    names: Sequence[str] = ()
    for row in rows:
        if not row.names:
            # what a reason quotes is written down as well
            reason = row.reason.encode(errors="backslashreplace").decode()
            reason = reason or "unreadable: there is nothing in it"
            found.rejects.append(Reject(name, row.number, reason, {}))
            continue
        texts = [value if isinstance(value, str) else written(value) for value in row.values]
        if not all(map(_is_text, texts)) or not (row.names is names or all(map(_is_text, row.names))):
            half = "unreadable: half a character (a lone surrogate)"
            found.rejects.append(Reject(name, row.number, half, {}))
            continue
        if row.names is not names:
            # one list for all rows where a header names them, another in each row of JSON
            names = row.names
            here = set(names)
            limit_columns(name, len(here), params)
            for column in names:
                if column not in columns:
                    columns[column] = [None] * len(found.numbers)
            there = [columns[column] for column in names]
            limit_columns(name, len(columns), params)
            elsewhere = [kept for column, kept in columns.items() if column not in here]
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
