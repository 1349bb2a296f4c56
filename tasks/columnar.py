"""Parquet and Arrow: the named columns and those of plain types; no other stops or alters anything."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl

from tasks.choices import Format
from tasks.errors import InputError
from tasks.rows import SHOWN, Read, Reject, clean, twice

LISTED = 5  # columns that are left out and named
UNLABELLED = -1  # what `datasets` writes where a row has no label


def read_columnar(file: Path, name: str, kind: str, wanted: Mapping[str, str]) -> Read:
    """Return the columns of a Parquet or Arrow file that hold one plain value per row.

    wanted: the problem's column for each of the file's columns that must be there; a row whose text there is not UTF-8 is
    a reject.
    Raises InputError when the file is damaged, or a wanted column holds something else.
    """
    table, left_out = _opened(file, name, kind, wanted)
    class_names = _class_names(table.schema)
    columns: dict[str, pl.Series] = {}
    wrong: dict[int, Reject] = {}
    for field, column in zip(table.schema, table.columns, strict=True):
        called = clean(field.name)
        values = _series(column, f"{name}: column '{called}'")
        if values is None and called not in wanted:
            left_out.append(f"{called} (not UTF-8)")
            continue
        if values is None:
            texts, undecoded = _decoded(column)
            values = pl.Series(texts, dtype=pl.String)
            for index, held in undecoded.items():
                reason = f"{wanted[called]}: not UTF-8: {str(held)[:SHOWN]}"
                wrong.setdefault(index, Reject(name, index + 1, reason, {}))
        if field.name in class_names:
            values = _by_name(values, class_names[field.name], f"{name}: column '{called}'")
        columns[called] = values.fill_nan(None) if values.dtype.is_float() else values
    kept = [index for index in range(table.num_rows) if index not in wrong]
    if wrong:
        columns = {column: values.gather(kept) for column, values in columns.items()}
    notes = [_left_out(left_out)] if left_out else []
    return Read(columns, [index + 1 for index in kept], list(wrong.values()), notes)


def _left_out(columns: list[str]) -> str:
    more = f" and {len(columns) - LISTED} more" if len(columns) > LISTED else ""
    return f"columns left out, which nobody asked for: {', '.join(columns[:LISTED])}{more}"


def _opened(file: Path, name: str, kind: str, wanted: Mapping[str, str]) -> tuple[Any, list[str]]:
    """Return a table of the columns that can be read, and the others with their types.

    Arrow is a file (Feather) or a stream (what `datasets` writes).
    """
    import pyarrow as pa
    import pyarrow.parquet

    try:
        if kind == Format.parquet:
            parquet = pyarrow.parquet.ParquetFile(file)
            names, left_out = _readable(parquet.schema_arrow, name, wanted)
            # a name also brings what is nested below it, or looks so because there is a dot in its own
            return parquet.read(columns=names).select(names), left_out
        with pa.memory_map(str(file)) as source:
            stream = source.read(6) != b"ARROW1"
            source.seek(0)
            opened = pa.ipc.open_stream(source) if stream else pa.ipc.open_file(source)
            names, left_out = _readable(opened.schema, name, wanted)
            return opened.read_all().select(names), left_out
    except (pa.ArrowException, OSError) as error:
        said = " ".join(str(error).split())[:200]
        raise InputError(f"{name}: not a valid {kind} file ({said}); check data.format") from None


def _readable(schema: Any, name: str, wanted: Mapping[str, str]) -> tuple[list[str], list[str]]:
    """Return the names of the columns of plain types, and those of the others with their types."""
    if again := twice([clean(field.name) for field in schema]):
        raise InputError(f"{name}: two columns are called {', '.join(again)}; rename one of them")
    names, left_out = [], []
    for field in schema:
        if _is_plain(field.type):
            names.append(field.name)
        elif clean(field.name) in wanted:
            raise InputError(f"{name}: column '{clean(field.name)}' holds {field.type}, not one plain value per row; name another with data.columns")
        else:
            left_out.append(f"{clean(field.name)} ({field.type})")
    return names, left_out


def _is_plain(kind: Any) -> bool:
    """Return whether a type is text, numbers, truth values, dates or times: all can be written again."""
    import pyarrow.types as is_

    kind = getattr(kind, "storage_type", kind)
    kind = kind.value_type if is_.is_dictionary(kind) else kind
    texts = (is_.is_string, is_.is_large_string, is_.is_string_view, is_.is_binary, is_.is_large_binary, is_.is_binary_view)
    numbers = (is_.is_integer, is_.is_floating, is_.is_boolean, is_.is_decimal32, is_.is_decimal64, is_.is_decimal128)
    moments = (is_.is_date, is_.is_time, is_.is_timestamp, is_.is_duration, is_.is_null)
    return any(test(kind) for test in (*texts, *numbers, *moments))


def _series(column: Any, where: str) -> pl.Series | None:
    """Return a column of a plain type, or None when its bytes are no text; raise InputError when it is damaged."""
    import pyarrow as pa

    is_ = pa.types
    try:
        column = column.cast(column.type.storage_type) if isinstance(column.type, pa.BaseExtensionType) else column
        if is_.is_string(column.type) or is_.is_large_string(column.type) or is_.is_string_view(column.type):
            # as bytes first: where they lie is checked apart from whether they are text
            column = column.cast(BYTES[str(column.type)])
        column.validate(full=True)
        column = column.cast(column.type.value_type) if is_.is_dictionary(column.type) else column
    except pa.ArrowException as error:
        raise InputError(f"{where} is damaged ({' '.join(str(error).split())[:200]}); write the file again") from None
    if is_.is_binary(column.type) or is_.is_large_binary(column.type) or is_.is_binary_view(column.type):
        try:
            column = column.cast(pa.large_string())
        except pa.ArrowInvalid:
            return None
    elif is_.is_float16(column.type):
        column = column.cast(pa.float32())
    elif is_.is_timestamp(column.type) and column.type.tz is not None:
        # one zone for all files: the moments are the same
        column = column.cast(pa.timestamp(column.type.unit, "UTC"))
    values = pl.from_arrow(column)
    assert isinstance(values, pl.Series)
    return values


BYTES = {"string": "binary", "large_string": "large_binary", "string_view": "binary_view"}


def _decoded(column: Any) -> tuple[list[str | None], dict[int, bytes]]:
    """Return texts, null where the bytes are none, and those bytes by their index."""
    import pyarrow as pa

    texts: list[str | None] = []
    undecoded: dict[int, bytes] = {}
    for index, held in enumerate(column.cast(pa.large_binary()).to_pylist()):
        try:
            texts.append(None if held is None else held.decode())
        except UnicodeDecodeError:
            texts.append(None)
            undecoded[index] = held
    return texts, undecoded


def _class_names(schema: Any) -> dict[str, list[str]]:
    """Return the class names of each column that `datasets` wrote as numbers with names (ClassLabel)."""
    try:
        features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
        labels = {column: feature for column, feature in features.items() if feature.get("_type") == "ClassLabel"}
        return {column: [str(name) for name in feature["names"]] for column, feature in labels.items()}
    except (KeyError, TypeError, ValueError, AttributeError):
        return {}


def _by_name(values: pl.Series, names: list[str], where: str) -> pl.Series:
    """Return the class's name for each number, null for UNLABELLED."""
    if not values.dtype.is_integer():
        return values
    numbers = values.cast(pl.Int64)
    numbers = numbers.set(numbers == UNLABELLED, None)
    beyond = numbers.filter((numbers < 0) | (numbers >= len(names)))
    if beyond.len():
        raise InputError(f"{where} holds the class {beyond[0]}, but the file names {len(names)} classes, from 0 on; write the file again")
    return pl.Series(names, dtype=pl.String).gather(numbers)
