"""One raw file, as people have them, to columns: CSV, TSV, JSONL, JSON, Parquet, Arrow."""

import json
import re
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from tasks.ingest.columnar import read_columnar
from tasks.ingest.delimited import read_delimited
from tasks.ingest.dialects import lines_of
from tasks.ingest.rows import AT_ONCE, SHOWN, Read, Row, Wanted, clean, gather, limit_field, twice
from tasks.shared.errors import InputError
from tasks.shared.files import read_text
from tasks.shared.params import Data

ENDINGS = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "json",
    ".parquet": "parquet",
    ".arrow": "arrow",
    ".feather": "arrow",
}

# Python makes no whole number of more: that would take time that grows with the square
MOST_DIGITS = sys.get_int_max_str_digits()
DIGITS = re.compile(rf"\d{{{MOST_DIGITS + 1}}}")


def read_file(file: Path, name: str, field: str | None, params: Data, wanted: Wanted) -> Iterator[Read]:
    """Yield the columns of a file, the row numbers they come from, and unreadable rows; some at a time."""
    rows: Iterator[Row]
    own = wanted.own(file, params)
    if own is not None:
        rows = (_row(number, row, name, wanted) for number, row in enumerate(own, start=1))
        yield from _gathered(_with_short_fields(rows, name, params), name, params)
        return
    kind: str = params.format
    if kind == "auto":
        if file.suffix.lower() not in ENDINGS:
            unknown = f"cannot tell the format from the ending '{file.suffix}'"
            raise InputError(f"{name}: {unknown}; set data.format (known: {', '.join(ENDINGS)})")
        kind = ENDINGS[file.suffix.lower()]
    if file.stat().st_size == 0:
        return
    if kind in ("parquet", "arrow"):
        yield from read_columnar(file, name, kind, params, wanted)
        return
    text = read_text(file, name, params.encoding)
    if kind != "json":
        _limit_lines(text, "\n" if kind == "jsonl" else "\n\r", name, params)
    if kind in ("csv", "tsv"):
        yield read_delimited(text, name, kind, params)
        return
    values = _jsonl(text) if kind == "jsonl" else _json(text, name, field)
    rows = (_row(number, row, name, wanted) for number, row in values)
    if kind == "json" and len(text) > params.max_field_chars:
        rows = _with_short_fields(rows, name, params)
    yield from _gathered(rows, name, params)


def _gathered(rows: Iterator[Row], name: str, params: Data) -> Iterator[Read]:
    """Yield rows by their columns, some at a time."""
    while some := list(islice(rows, AT_ONCE)):
        yield gather(some, name, params)


def _limit_lines(text: str, ends: str, name: str, params: Data) -> None:
    """Raise InputError for a line that is longer than a field may be, before anything copies or parses it."""
    most = params.max_field_chars
    start = 0
    while len(text) - start > most:
        end = max(text.rfind(sign, start, start + most + 1) for sign in ends)
        if end < start:
            line = text.count("\n", 0, start) + 1
            long = f"line {line} is longer than data.max_field_chars, {most} characters"
            remedy = f"raise that if it is what the file holds: --data.max_field_chars {len(text)}"
            raise InputError(f"{name}: {long}; check data.format, or {remedy}")
        start = end + 1


def _jsonl(text: str) -> Iterator[tuple[int, object]]:
    for number, line in enumerate(lines_of(text, "\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line, object_pairs_hook=_object)
        except (ValueError, RecursionError) as error:
            reason = f"unreadable: not JSON ({_no_json(error)}): {line.strip()[:SHOWN]}"
            yield number, Row(number, None, reason=reason)
            continue
        yield number, row


def _no_json(error: ValueError | RecursionError) -> str:
    """Return why Python takes a text for no JSON, or JSON for nothing that it can hold."""
    if isinstance(error, json.JSONDecodeError):
        return error.msg
    if isinstance(error, RecursionError):
        return "nested too deep"
    return f"a number of more than {MOST_DIGITS} digits"


def _json(text: str, name: str, field: str | None) -> Iterator[tuple[int, object]]:
    try:
        document = json.loads(text, object_pairs_hook=_object)
    except json.JSONDecodeError as error:
        said = f"line {error.lineno} is not valid JSON ({error.msg})"
        raise InputError(f"{name}: {said}; one object per line is format jsonl") from None
    except RecursionError:
        raise InputError(f"{name}: the JSON is nested too deep to be rows") from None
    except ValueError as error:
        line = text.count("\n", 0, match.start()) + 1 if (match := DIGITS.search(text)) else 1
        held = f"line {line} holds {_no_json(error)}"
        raise InputError(f"{name}: {held}; write it as text, in quotes") from None
    if field is not None:
        if not isinstance(document, dict) or field not in document:
            keys = f"; it has {', '.join(map(str, document))}" if isinstance(document, dict) else ""
            raise InputError(f"{name}: the JSON has no field '{field}'{keys}")
        document = document[field]
    if not isinstance(document, list):
        found = type(document).__name__
        if isinstance(document, dict):
            found = f"an object with the keys {', '.join(map(repr, list(document)[:8]))}"
        remedy = "name the list inside it with #, as in data.train_file 'data.json#train'"
        raise InputError(f"{name}: format json is a list of rows, but this is {found}; {remedy}")
    yield from enumerate(document, start=1)


class _Twice(dict[str, object]):
    """An object that names a key twice: Python keeps the last, and the other would be lost unsaid."""


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    row = dict(pairs)
    return row if len(row) == len(pairs) else _Twice(row)


def _with_short_fields(rows: Iterator[Row], name: str, params: Data) -> Iterator[Row]:
    for row in rows:
        longest = max((len(value) for value in row.values if isinstance(value, str)), default=0)
        limit_field(name, row.number, longest, params)
        yield row


def _row(number: int, row: object, name: str, wanted: Wanted) -> Row:
    """An object is a row with names; a list is a row without, like a line of a file without a header."""
    if isinstance(row, Row):
        return row
    if isinstance(row, dict):
        names, values = [clean(key) for key in row], list(row.values())
    elif isinstance(row, list):
        if wanted.names and len(row) != len(wanted.names):
            said = f"{len(row)} values where data.column_names names {len(wanted.names)}: {str(row)[:SHOWN]}"
            return Row(number, None, reason=f"unreadable: {said}")
        names, values = list(wanted.names) or [f"column_{i}" for i in range(1, len(row) + 1)], row
    else:
        said = f"a row is an object or a list, this is {type(row).__name__}: {str(row)[:SHOWN]}"
        return Row(number, None, reason=f"unreadable: {said}")
    if isinstance(row, _Twice) or twice(names):
        again = ", ".join(twice(names) or names)
        raise InputError(f"{name}: row {number} names a column twice: {again}; rename one of them")
    for column, value in zip(names, values, strict=True):
        is_taken = column in (wanted.lists if isinstance(value, list) else wanted.objects)
        if isinstance(value, (dict, list)) and column in wanted.columns and not is_taken:
            held = "an object" if isinstance(value, dict) else "a list"
            reason = f"{wanted.columns[column]}: {held}, not one value: {str(value)[:SHOWN]}"
            return Row(number, None, reason=reason)
    return Row(number, names, values)
