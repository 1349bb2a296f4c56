"""One raw file, as people have them, to columns: CSV, TSV, JSONL, JSON, Parquet, Arrow."""

import codecs
import csv
import io
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from tasks.choices import Format
from tasks.errors import InputError
from tasks.params import Data

ENDINGS = {
    ".csv": Format.csv,
    ".tsv": Format.tsv,
    ".jsonl": Format.jsonl,
    ".ndjson": Format.jsonl,
    ".json": Format.json,
    ".parquet": Format.parquet,
    ".arrow": Format.arrow,
    ".feather": Format.arrow,
}
csv.field_size_limit(2**31 - 1)


@dataclass(frozen=True)
class Reject:
    """A raw row that is not taken in: where it stands (1-based, header not counted), why, and what it held."""

    file: str
    row: int
    reason: str
    values: dict[str, Any]


def read_file(file: Path, name: str, field: str | None, params: Data) -> tuple[dict[str, Any], list[int], list[Reject]]:
    """Return the columns, the row numbers they come from, and the unreadable rows of one file."""
    kind = params.format
    if kind == Format.auto:
        if file.suffix.lower() not in ENDINGS:
            raise InputError(f"{name}: cannot tell the format from the ending '{file.suffix}'; set data.format (known: {', '.join(ENDINGS)})")
        kind = ENDINGS[file.suffix.lower()]
    if file.stat().st_size == 0:
        raise InputError(f"{name}: the file is empty; give a file with data")
    if kind in (Format.parquet, Format.arrow):
        table = _arrow_table(file, name, kind)
        return {_clean(column): table[column] for column in table.columns}, list(range(1, table.height + 1)), []
    text = _text(file, name, params.encoding)
    if kind in (Format.csv, Format.tsv):
        rows = _delimited(text, name, "," if kind == Format.csv else "\t", header=params.header)
    else:
        rows = _jsonl(text) if kind == Format.jsonl else _json(text, name, field)
    return _columns(rows, name)


def _clean(column: str) -> str:
    return column.strip().lstrip("\ufeff")


def _text(file: Path, name: str, encoding: str) -> str:
    """Decode a text file, its byte order mark dropped; line ends stay as they are."""
    try:
        codec = codecs.lookup(encoding).name
    except LookupError:
        raise InputError(f"data.encoding: '{encoding}' is not an encoding Python knows; utf-8 and cp1252 are common") from None
    raw = file.read_bytes()
    if b"\0" in raw[:65536] and not codec.startswith(("utf-16", "utf-32")):
        raise InputError(f"{name}: looks binary (a NUL byte at {raw.index(0)}), not a text file; check data.path and data.format")
    try:
        return raw.decode(codec).removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise InputError(
            f"{name}: line {line} is not valid {encoding} (byte 0x{raw[error.start]:02x} at {error.start}); "
            "save the file as UTF-8 or set data.encoding, for instance to cp1252"
        ) from None
    except LookupError:
        raise InputError(f"data.encoding: '{encoding}' is not a text encoding; utf-8 and cp1252 are common") from None


Row = tuple[int, Sequence[str] | None, Sequence[Any] | str]  # number, column names or None when unreadable, values or the reason


def _delimited(text: str, name: str, delimiter: str, *, header: bool) -> Iterator[Row]:
    # newline="" leaves line ends inside quoted fields as they are; TSV files by convention quote nothing
    quoting = csv.QUOTE_MINIMAL if delimiter == "," else csv.QUOTE_NONE
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, quoting=quoting, strict=True)  # type: ignore[arg-type]
    names: list[str] | None = None
    number = 0
    while True:
        began = reader.line_num + 1
        try:
            fields = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            if "unexpected end" in str(error) or names is None:
                raise InputError(f"{name}: line {began}: a quote is opened and never closed, or this is not CSV; check data.format") from None
            number += 1
            yield number, None, f"line {began} is not CSV: {error}"
            continue
        if not fields or (names is None and not any(field.strip() for field in fields)):
            continue
        if names is None:
            names = [_clean(field) if header and _clean(field) else f"column_{i}" for i, field in enumerate(fields, start=1)]
            if len(set(names)) < len(names):
                raise InputError(f"{name}: the header names a column twice: {', '.join(sorted({n for n in names if names.count(n) > 1}))}")
            if header:
                continue
        number += 1
        if len(fields) == len(names):
            yield number, names, fields
        else:
            yield number, None, f"{len(fields)} fields where the first line has {len(names)}: {delimiter.join(fields)[:500]}"


def _jsonl(text: str) -> Iterator[Row]:
    for number, line in enumerate(io.StringIO(text), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (json.JSONDecodeError, RecursionError) as error:
            yield number, None, f"not JSON ({getattr(error, 'msg', 'nested too deep')}): {line.strip()[:500]}"
            continue
        yield _json_row(number, row)


def _json(text: str, name: str, field: str | None) -> Iterator[Row]:
    try:
        document = json.loads(text)
    except json.JSONDecodeError as error:
        raise InputError(f"{name}: line {error.lineno} is not valid JSON ({error.msg}); one object per line is format jsonl") from None
    except RecursionError:
        raise InputError(f"{name}: the JSON is nested too deep to be rows") from None
    if field is not None:
        if not isinstance(document, dict) or field not in document:
            keys = f"; it has {', '.join(map(str, document))}" if isinstance(document, dict) else ""
            raise InputError(f"{name}: the JSON has no field '{field}'{keys}")
        document = document[field]
    if not isinstance(document, list):
        found = f"an object with the keys {', '.join(map(repr, list(document)[:8]))}" if isinstance(document, dict) else type(document).__name__
        raise InputError(
            f"{name}: format json is a list of rows, but this is {found}; name the list inside it with #, as in data.train_file 'data.json#train'"
        )
    for number, row in enumerate(document, start=1):
        yield _json_row(number, row)


def _json_row(number: int, row: object) -> Row:
    """An object is a row with names; a list is a row without, like a line of a file without a header."""
    if isinstance(row, dict):
        return number, [_clean(str(key)) for key in row], list(row.values())
    if isinstance(row, list):
        return number, [f"column_{i}" for i in range(1, len(row) + 1)], row
    return number, None, f"a row is an object or a list, this is {type(row).__name__}: {str(row)[:500]}"


def _columns(rows: Iterable[Row], name: str) -> tuple[dict[str, Any], list[int], list[Reject]]:
    """Turn rows into columns of strings: the formats here either have no types or do not keep them from row to row."""
    columns: dict[str, list[str | None]] = {}
    numbers: list[int] = []
    rejects: list[Reject] = []
    for number, names, values in rows:
        if names is None:
            rejects.append(Reject(name, number, f"unreadable: {values}", {}))
            continue
        for column in names:
            if column not in columns:
                columns[column] = [None] * len(numbers)
        row = dict(zip(names, values, strict=True))
        written = {column: _written(row.get(column)) for column in columns}
        if any(not _is_text(value) for value in written.values()):
            rejects.append(Reject(name, number, "unreadable: half a character (a lone surrogate)", {}))
            continue
        for column, kept in columns.items():
            kept.append(written[column])
        numbers.append(number)
    return columns, numbers, rejects


def _written(value: object) -> str | None:
    return value if isinstance(value, str) or value is None else json.dumps(value, ensure_ascii=False, sort_keys=True)


def _is_text(value: str | None) -> bool:
    """Return whether a value can be written as UTF-8: JSON can spell half of a surrogate pair."""
    if value is None or value.isascii():
        return True
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _arrow_table(file: Path, name: str, kind: str) -> pl.DataFrame:
    """Read Parquet, or Arrow as a file (Feather) or a stream (what `datasets` writes)."""
    import pyarrow as pa
    import pyarrow.parquet

    try:
        if kind == Format.parquet:
            table = pyarrow.parquet.read_table(file)
        else:
            with pa.memory_map(str(file)) as source:
                table = (
                    pa.ipc.open_file(source).read_all()
                    if source.read(6) == b"ARROW1"
                    else pa.ipc.open_stream(pa.BufferReader(file.read_bytes())).read_all()
                )
    except (pa.ArrowInvalid, OSError) as error:
        raise InputError(f"{name}: not a valid {kind} file ({' '.join(str(error).split())[:200]}); check data.format") from None
    frame = pl.from_arrow(table)
    assert isinstance(frame, pl.DataFrame)
    return frame
