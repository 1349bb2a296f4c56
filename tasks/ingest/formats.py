"""One raw file, as people have them, to columns: CSV, TSV, JSONL, JSON, Parquet, Arrow."""

import codecs
import json
import re
import sys
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path

from tasks.ingest.columnar import read_columnar
from tasks.ingest.delimited import read_delimited
from tasks.ingest.dialects import lines_of
from tasks.ingest.rows import AT_ONCE, SHOWN, Read, Row, clean, gather, limit_field, twice
from tasks.shared.choices import Format
from tasks.shared.errors import InputError
from tasks.shared.params import Data

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

# Python makes no whole number of more: that would take time that grows with the square
MOST_DIGITS = sys.get_int_max_str_digits()
DIGITS = re.compile(rf"\d{{{MOST_DIGITS + 1}}}")


def read_file(file: Path, name: str, field: str | None, params: Data, wanted: Mapping[str, str]) -> Iterator[Read]:
    """Yield the columns, the row numbers they come from, and the unreadable rows of one file, of large ones in parts.

    wanted: the problem's column for each of the file's columns that must hold one value per row.
    """
    kind = params.format
    if kind == Format.auto:
        if file.suffix.lower() not in ENDINGS:
            raise InputError(f"{name}: cannot tell the format from the ending '{file.suffix}'; set data.format (known: {', '.join(ENDINGS)})")
        kind = ENDINGS[file.suffix.lower()]
    if file.stat().st_size == 0:
        return
    if kind in (Format.parquet, Format.arrow):
        yield from read_columnar(file, name, kind, params, wanted)
        return
    text = _text(file, name, params.encoding)
    if kind != Format.json:
        _limit_lines(text, "\n" if kind == Format.jsonl else "\n\r", name, params)
    if kind in (Format.csv, Format.tsv):
        yield read_delimited(text, name, kind, params)
        return
    rows = _jsonl(text) if kind == Format.jsonl else _json(text, name, field)
    found: Iterator[Row] = (_row(number, row, name, wanted) for number, row in rows)
    if kind == Format.json and len(text) > params.max_field_chars:
        found = _with_short_fields(found, name, params)
    while some := list(islice(found, AT_ONCE)):
        yield gather(some, name, params)


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


def _limit_lines(text: str, ends: str, name: str, params: Data) -> None:
    """Raise InputError for a line that is longer than a field may be, before anything copies or parses it."""
    most = params.max_field_chars
    start = 0
    while len(text) - start > most:
        end = max(text.rfind(sign, start, start + most + 1) for sign in ends)
        if end < start:
            line = text.count("\n", 0, start) + 1
            raise InputError(
                f"{name}: line {line} is longer than data.max_field_chars, {most} characters; check data.format, "
                f"or raise that if it is what the file holds: --data.max_field_chars {len(text)}"
            )
        start = end + 1


def _jsonl(text: str) -> Iterator[tuple[int, object]]:
    for number, line in enumerate(lines_of(text, "\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line, object_pairs_hook=_object)
        except (ValueError, RecursionError) as error:
            yield number, Row(number, None, reason=f"unreadable: not JSON ({_no_json(error)}): {line.strip()[:SHOWN]}")
            continue
        yield number, row


def _no_json(error: ValueError | RecursionError) -> str:
    """Return why Python takes a text for no JSON, or JSON for nothing that it can hold."""
    if isinstance(error, json.JSONDecodeError):
        return error.msg
    return "nested too deep" if isinstance(error, RecursionError) else f"a number of more than {MOST_DIGITS} digits"


def _json(text: str, name: str, field: str | None) -> Iterator[tuple[int, object]]:
    try:
        document = json.loads(text, object_pairs_hook=_object)
    except json.JSONDecodeError as error:
        raise InputError(f"{name}: line {error.lineno} is not valid JSON ({error.msg}); one object per line is format jsonl") from None
    except RecursionError:
        raise InputError(f"{name}: the JSON is nested too deep to be rows") from None
    except ValueError as error:
        line = text.count("\n", 0, match.start()) + 1 if (match := DIGITS.search(text)) else 1
        raise InputError(f"{name}: line {line} holds {_no_json(error)}; write it as text, in quotes") from None
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
    yield from enumerate(document, start=1)


class _Twice(dict[str, object]):
    """An object that names a key twice: Python keeps the last, and the other would be lost unsaid."""


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    row = dict(pairs)
    return row if len(row) == len(pairs) else _Twice(row)


def _with_short_fields(rows: Iterator[Row], name: str, params: Data) -> Iterator[Row]:
    for row in rows:
        limit_field(name, row.number, max((len(value) for value in row.values if isinstance(value, str)), default=0), params)
        yield row


def _row(number: int, row: object, name: str, wanted: Mapping[str, str]) -> Row:
    """An object is a row with names; a list is a row without, like a line of a file without a header."""
    if isinstance(row, Row):
        return row
    if isinstance(row, dict):
        names, values = [clean(key) for key in row], list(row.values())
    elif isinstance(row, list):
        names, values = [f"column_{i}" for i in range(1, len(row) + 1)], row
    else:
        said = f"a row is an object or a list, this is {type(row).__name__}: {str(row)[:SHOWN]}"
        return Row(number, None, reason=f"unreadable: {said}")
    if isinstance(row, _Twice) or twice(names):
        raise InputError(f"{name}: row {number} names a column twice: {', '.join(twice(names) or names)}; rename one of them")
    for column, value in zip(names, values, strict=True):
        if isinstance(value, (dict, list)) and column in wanted:
            held = "an object" if isinstance(value, dict) else "a list"
            return Row(number, None, reason=f"{wanted[column]}: {held}, not one value: {str(value)[:SHOWN]}")
    return Row(number, names, values)
