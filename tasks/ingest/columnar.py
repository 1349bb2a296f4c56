"""Parquet and Arrow: the named columns and those of plain types; no other stops or alters anything."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet
import pyarrow.types as is_

from tasks.ingest import embedded
from tasks.ingest.arrow_types import is_list, is_object, is_plain, is_rows
from tasks.ingest.arrow_values import (
    UnusableError,
    by_name,
    class_names,
    damaged,
    decoded,
    plain,
    without_nan,
)
from tasks.ingest.embedded import is_embedded, is_text, kept_apart
from tasks.ingest.rows import AT_ONCE, SHOWN, Read, Reject, Wanted, clean, limit_columns, limit_field, twice
from tasks.shared.errors import InputError, listed
from tasks.shared.params import Data

# columns that are left out and named
LISTED = 5

Batches = Iterator[pa.RecordBatch]


def read_columnar(file: Path, name: str, kind: str, params: Data, wanted: Wanted) -> Iterator[Read]:
    """Yield the columns of a Parquet or Arrow file that hold one plain value per row, some rows at a time.

    This is Arrow alone, and runs where a crash does no harm: what native code makes of a damaged file is not
    known before. A row whose text in a wanted column is not UTF-8 is a reject. Raises InputError when the
    file is damaged, or a wanted column holds something else.
    """
    left_out: list[str] = []
    gone: set[str] = set()
    first = 1
    for batch in _batches(file, name, kind, params, wanted, left_out):
        names = class_names(batch.schema)
        columns: dict[str, Any] = {}
        undecoded: dict[int, str] = {}
        for field, column in zip(batch.schema, batch.columns, strict=True):
            called = clean(field.name)
            where = f"{name}: column '{called}'"
            if called in gone:
                continue
            if called == wanted.media and is_embedded(column.type) and not is_text(column):
                columns[called] = _files(column, where, first, wanted.embedded)
                continue
            try:
                values, wrong = _values(column, where, names.get(field.name), wanted.columns.get(called))
            except UnusableError as error:
                if called in wanted.columns:
                    raise
                gone.add(called)
                left_out.append(f"{called} ({error.why})")
                continue
            _limit_fields(values, name, first, params)
            columns[called] = values
            undecoded = wrong | undecoded
        rejects = [Reject(name, first + index, reason, {}) for index, reason in sorted(undecoded.items())]
        kept = [index for index in range(batch.num_rows) if index not in undecoded]
        if rejects:
            columns = {column: values.take(pa.array(kept, pa.int64())) for column, values in columns.items()}
        yield Read(columns, [first + index for index in kept], rejects)
        first += batch.num_rows
    said = f"columns left out, which nobody asked for: {listed(left_out, LISTED)}"
    yield Read({}, [], notes=[said] if left_out else [], left_out=sorted(gone))


def _values(
    column: pa.Array, where: str, names: list[str] | None, ours: str | None
) -> tuple[pa.Array, dict[int, str]]:
    """Return a column's plain values, and by their index the reasons of those that are not UTF-8.

    names: those of its classes. ours: the problem's name for the column; None: nobody asked for it. Raises
    UnusableError for what no table can hold.
    """
    wrong: dict[int, str] = {}
    values = plain(column, where)
    if values is None and ours is None:
        raise UnusableError(f"{where} is not UTF-8; write the file again", "not UTF-8")
    if values is None:
        values, undecoded = decoded(column)
        wrong = {index: f"{ours}: not UTF-8: {str(held)[:SHOWN]}" for index, held in undecoded.items()}
    if names is not None:
        values = by_name(values, names, where)
    return without_nan(values), wrong


def _batches(
    file: Path,
    name: str,
    kind: str,
    params: Data,
    wanted: Wanted,
    left_out: list[str],
) -> Batches:
    """Yield the columns that can be read, AT_ONCE rows at a time; `left_out` takes the others.

    Arrow is a file (Feather) or a stream (what `datasets` writes).
    """
    try:
        if kind == "parquet":
            yield from _of_parquet(file, name, params, wanted, left_out)
        else:
            yield from _of_arrow(file, name, params, wanted, left_out)
    except (MemoryError, InputError):
        raise
    except Exception as error:  # noqa: BLE001 - whatever native code raises on what is not sound
        said = " ".join(str(error).split())[:200]
        raise InputError(f"{name}: not a valid {kind} file ({said}); check data.format") from None


def _of_parquet(file: Path, name: str, params: Data, wanted: Wanted, left_out: list[str]) -> Batches:
    with pyarrow.parquet.ParquetFile(file) as parquet:
        names, others = _readable(parquet.schema_arrow, name, params, wanted)
        left_out += others
        at_once = _at_once(parquet.schema_arrow, wanted)
        for batch in parquet.iter_batches(at_once, columns=names, use_threads=False):
            # a name also brings what is nested below it, or looks so because there is a dot in its own
            yield batch.select(names)


def _of_arrow(file: Path, name: str, params: Data, wanted: Wanted, left_out: list[str]) -> Batches:
    options = pa.ipc.IpcReadOptions(use_threads=False)
    with pa.memory_map(str(file)) as source:
        stream = source.read(6) != b"ARROW1"
        source.seek(0)
        reader = pa.ipc.open_stream if stream else pa.ipc.open_file
        opened = reader(source, options=options)
        names, others = _readable(opened.schema, name, params, wanted)
        left_out += others
        batches = opened if stream else map(opened.get_batch, range(opened.num_record_batches))
        at_once = _at_once(opened.schema, wanted)
        for batch in batches:
            for start in range(0, batch.num_rows, at_once):
                yield batch.slice(start, at_once).select(names)


def _at_once(schema: pa.Schema, wanted: Wanted) -> int:
    """Return how many rows are read at once: few, where each has a picture or sound in it."""
    held = (field for field in schema if clean(field.name) == wanted.media)
    return embedded.AT_ONCE if any(is_embedded(field.type) for field in held) else AT_ONCE


def _readable(schema: pa.Schema, name: str, params: Data, wanted: Wanted) -> tuple[list[str], list[str]]:
    """Return the names of the columns of plain types, and those of the others with their types."""
    limit_columns(name, len(schema), params)
    if again := twice([clean(field.name) for field in schema]):
        raise InputError(f"{name}: two columns are called {', '.join(again)}; rename one of them")
    names, left_out = [], []
    for field in schema:
        called = clean(field.name)
        is_taken = (called in wanted.lists and is_list(field.type)) or (
            called in wanted.objects and is_object(field.type)
        )
        is_taken = is_taken or (called in wanted.lists and called in wanted.objects and is_rows(field.type))
        is_taken = is_taken or (called == wanted.media and is_embedded(field.type))
        if is_plain(field.type) or is_taken:
            names.append(field.name)
        elif called in wanted.columns:
            holds = f"column '{called}' holds {field.type}, not one plain value per row"
            raise InputError(f"{name}: {holds}; name another with data.columns")
        else:
            left_out.append(f"{called} ({field.type})")
    return names, left_out


def _files(column: pa.Array, where: str, first: int, folder: Path) -> pa.Array:
    """Return what rows say of files that stand in the table; InputError when the column is damaged."""
    try:
        stored = getattr(column.type, "storage_type", None)
        column = column if stored is None else column.cast(stored)
        column.validate(full=True)
    except pa.ArrowException as error:
        raise damaged(where, error) from None
    return kept_apart(column, first, folder)


def _limit_fields(values: pa.Array, name: str, first: int, params: Data) -> None:
    """Raise InputError when a text is too long."""
    # no more bytes than a text may have characters: none can have more
    if is_.is_large_string(values.type) and values.nbytes > params.max_field_chars:
        lengths = pc.utf8_length(values)
        longest = pc.max(lengths).as_py() or 0
        if longest > params.max_field_chars:
            limit_field(name, first + pc.index(lengths, longest).as_py(), longest, params)
