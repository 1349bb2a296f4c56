"""One raw file, as people have them, to columns: CSV, TSV, JSONL, JSON, Parquet, Arrow."""

import codecs
import io
import json
from collections.abc import Iterator
from pathlib import Path

import polars as pl

from tasks.choices import Format
from tasks.delimited import read_delimited
from tasks.errors import InputError
from tasks.params import Data
from tasks.rows import SHOWN, Read, Row, clean, gather

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


def read_file(file: Path, name: str, field: str | None, params: Data) -> Read:
    """Return the columns, the row numbers they come from, and the unreadable rows of one file."""
    kind = params.format
    if kind == Format.auto:
        if file.suffix.lower() not in ENDINGS:
            raise InputError(f"{name}: cannot tell the format from the ending '{file.suffix}'; set data.format (known: {', '.join(ENDINGS)})")
        kind = ENDINGS[file.suffix.lower()]
    if file.stat().st_size == 0:
        return Read({}, [])
    if kind in (Format.parquet, Format.arrow):
        table = _arrow_table(file, name, kind)
        return Read({clean(column): table[column] for column in table.columns}, list(range(1, table.height + 1)))
    text = _text(file, name, params.encoding)
    if kind in (Format.csv, Format.tsv):
        return read_delimited(text, name, kind, params)
    return gather(_jsonl(text) if kind == Format.jsonl else _json(text, name, field), name)


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


def _jsonl(text: str) -> Iterator[Row]:
    for number, line in enumerate(io.StringIO(text), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (json.JSONDecodeError, RecursionError) as error:
            yield Row(number, None, reason=f"unreadable: not JSON ({getattr(error, 'msg', 'nested too deep')}): {line.strip()[:SHOWN]}")
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
        return Row(number, [clean(str(key)) for key in row], list(row.values()))
    if isinstance(row, list):
        return Row(number, [f"column_{i}" for i in range(1, len(row) + 1)], row)
    return Row(number, None, reason=f"unreadable: a row is an object or a list, this is {type(row).__name__}: {str(row)[:SHOWN]}")


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
