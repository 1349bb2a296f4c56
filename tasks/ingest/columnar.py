"""Parquet and Arrow: the named columns and those of plain types; no other stops or alters anything."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet
import pyarrow.types as is_

from tasks.ingest import embedded
from tasks.ingest.embedded import is_embedded, is_text, kept_apart
from tasks.ingest.rows import AT_ONCE, SHOWN, Read, Reject, Wanted, clean, limit_columns, limit_field, twice
from tasks.shared.errors import InputError
from tasks.shared.params import Data
from tasks.shared.values import from_json, written

LISTED = 5  # columns that are left out and named
# what `datasets` calls a list, now and before
LISTS = ("List", "LargeList", "Sequence")
UNLABELLED = -1  # what `datasets` writes where a row has no label

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
        class_names = _class_names(batch.schema)
        columns: dict[str, Any] = {}
        wrong: dict[int, Reject] = {}
        for field, column in zip(batch.schema, batch.columns, strict=True):
            called = clean(field.name)
            if called in gone:
                continue
            if called == wanted.media and is_embedded(column.type) and not is_text(column):
                columns[called] = _files(column, f"{name}: column '{called}'", first, wanted.embedded)
                continue
            values = _plain(column, f"{name}: column '{called}'")
            if values is None and called not in wanted.columns:
                gone.add(called)
                left_out.append(f"{called} (not UTF-8)")
                continue
            if values is None:
                values, undecoded = _decoded(column)
                for index, held in undecoded.items():
                    reason = f"{wanted.columns[called]}: not UTF-8: {str(held)[:SHOWN]}"
                    wrong.setdefault(index, Reject(name, first + index, reason, {}))
            _limit_fields(values, name, first, params)
            if field.name in class_names:
                values = _by_name(values, class_names[field.name], f"{name}: column '{called}'")
            columns[called] = _without_nan(values)
        kept = [index for index in range(batch.num_rows) if index not in wrong]
        if wrong:
            columns = {column: values.take(pa.array(kept, pa.int64())) for column, values in columns.items()}
        yield Read(columns, [first + index for index in kept], list(wrong.values()))
        first += batch.num_rows
    yield Read({}, [], notes=[_left_out(left_out)] if left_out else [], left_out=sorted(gone))


def _left_out(columns: list[str]) -> str:
    more = f" and {len(columns) - LISTED} more" if len(columns) > LISTED else ""
    return f"columns left out, which nobody asked for: {', '.join(columns[:LISTED])}{more}"


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
        is_taken = (called in wanted.lists and _is_list(field.type)) or (
            called in wanted.objects and _is_object(field.type)
        )
        is_taken = is_taken or (called in wanted.lists and called in wanted.objects and _is_rows(field.type))
        is_taken = is_taken or (called == wanted.media and is_embedded(field.type))
        if _is_plain(field.type) or is_taken:
            names.append(field.name)
        elif called in wanted.columns:
            holds = f"column '{called}' holds {field.type}, not one plain value per row"
            raise InputError(f"{name}: {holds}; name another with data.columns")
        else:
            left_out.append(f"{called} ({field.type})")
    return names, left_out


def _is_plain(kind: pa.DataType) -> bool:
    """Return whether a type is text, numbers, truth values, dates or times: all can be written again."""
    kind = getattr(kind, "storage_type", kind)
    kind = kind.value_type if is_.is_dictionary(kind) else kind
    texts = (is_.is_string, is_.is_large_string, is_.is_string_view)
    bytes_ = (is_.is_binary, is_.is_large_binary, is_.is_binary_view)
    numbers = (is_.is_integer, is_.is_floating, is_.is_boolean)
    decimals = (is_.is_decimal32, is_.is_decimal64, is_.is_decimal128)
    moments = (is_.is_date, is_.is_time, is_.is_timestamp, is_.is_duration, is_.is_null)
    return any(test(kind) for test in (*texts, *bytes_, *numbers, *decimals, *moments))


def _is_list(kind: pa.DataType) -> bool:
    """Return whether a type is a list of plain values."""
    lists = (is_.is_list, is_.is_large_list, is_.is_fixed_size_list)
    return any(test(kind) for test in lists) and _is_plain(kind.value_type)


def _is_object(kind: pa.DataType) -> bool:
    """Return whether a type is an object of plain values, lists and other objects."""
    return bool(is_.is_struct(kind)) and all(_is_nested(field.type) for field in kind)


def _is_rows(kind: pa.DataType) -> bool:
    """Return whether a type is a list of objects."""
    return bool(is_.is_list(kind) or is_.is_large_list(kind)) and _is_object(kind.value_type)


def _is_nested(kind: pa.DataType) -> bool:
    return _is_plain(kind) or _is_list(kind) or _is_object(kind) or _is_rows(kind)


def _as_json(lists: pa.Array) -> pa.Array:
    return pa.array([written(values) for values in lists.to_pylist()], pa.large_string())


def _plain(column: pa.Array, where: str) -> pa.Array | None:
    """Return a column of a plain type, or None when its bytes are no text; InputError when it is damaged."""
    try:
        stored = getattr(column.type, "storage_type", None)
        column = column if stored is None else column.cast(stored)
        if is_.is_string(column.type) or is_.is_large_string(column.type) or is_.is_string_view(column.type):
            # as bytes first: where they lie is checked apart from whether they are text
            column = column.cast(BYTES[str(column.type)])
        column.validate(full=True)
        column = (
            _as_json(column)
            if _is_list(column.type) or _is_object(column.type) or _is_rows(column.type)
            else column
        )
        column = column.cast(column.type.value_type) if is_.is_dictionary(column.type) else column
        if is_.is_decimal(column.type) and column.type.scale < 0:
            # hundreds, say: polars has no such decimals
            column = column.cast(pa.decimal128(38, 0))
    except MemoryError:
        raise
    except pa.ArrowException as error:
        raise _damaged(where, error) from None
    if is_.is_binary(column.type) or is_.is_large_binary(column.type) or is_.is_binary_view(column.type):
        try:
            column = column.cast(pa.large_string())
        except pa.ArrowInvalid:
            return None
    elif is_.is_float16(column.type):
        column = column.cast(pa.float32())
    elif is_.is_temporal(column.type):
        _refuse_out_of_time(column, where)
    if is_.is_timestamp(column.type) and column.type.tz is not None:
        # one zone for all files: the moments are the same
        column = column.cast(pa.timestamp(column.type.unit, "UTC"))
    return column


def _files(column: pa.Array, where: str, first: int, folder: Path) -> pa.Array:
    """Return what rows say of files that stand in the table; InputError when the column is damaged."""
    try:
        stored = getattr(column.type, "storage_type", None)
        column = column if stored is None else column.cast(stored)
        column.validate(full=True)
    except pa.ArrowException as error:
        raise _damaged(where, error) from None
    return kept_apart(column, first, folder)


def _damaged(where: str, error: Exception) -> InputError:
    said = " ".join(str(error).split())[:200]
    return InputError(f"{where} is damaged ({said}); write the file again")


def _refuse_out_of_time(column: Any, where: str) -> None:
    """Raise InputError for a moment or duration that Python cannot write, and that polars panics on."""
    kind = column.type
    parts = PARTS[str(getattr(kind, "unit", "ms" if is_.is_date64(kind) else "D"))]
    least, most = FIRST, LAST
    if is_.is_duration(kind):
        least, most = -LONGEST, LONGEST
        column = column.cast(pa.int64())
    for found in pc.min_max(column).values():
        number = found.as_py() if is_.is_duration(kind) else getattr(found, "value", None)
        if number is not None and not least <= number * parts[0] // parts[1] <= most:
            held = f"holds {number} as a {kind}, beyond the years 1 to 9999"
            raise InputError(f"{where} {held}; write the file again")


# seconds
DAY = 86_400
FIRST, LAST, LONGEST = -62_135_596_800, 253_402_300_799, 999_999_999 * DAY
# how many seconds how many of a unit are
PARTS = {"D": (DAY, 1), "s": (1, 1), "ms": (1, 10**3), "us": (1, 10**6), "ns": (1, 10**9)}
BYTES = {"string": "binary", "large_string": "large_binary", "string_view": "binary_view"}


def _decoded(column: pa.Array) -> tuple[pa.Array, dict[int, bytes]]:
    """Return texts, null where the bytes are none, and those bytes by their index."""
    texts: list[str | None] = []
    undecoded: dict[int, bytes] = {}
    for index, held in enumerate(column.cast(pa.large_binary()).to_pylist()):
        try:
            texts.append(None if held is None else held.decode())
        except UnicodeDecodeError:
            texts.append(None)
            undecoded[index] = held
    return pa.array(texts, pa.large_string()), undecoded


def _limit_fields(values: pa.Array, name: str, first: int, params: Data) -> None:
    """Raise InputError when a text is too long."""
    # no more bytes than a text may have characters: none can have more
    if is_.is_large_string(values.type) and values.nbytes > params.max_field_chars:
        lengths = pc.utf8_length(values)
        longest = pc.max(lengths).as_py() or 0
        if longest > params.max_field_chars:
            limit_field(name, first + pc.index(lengths, longest).as_py(), longest, params)


def _without_nan(values: pa.Array) -> pa.Array:
    """Return the values, null where they are not a number."""
    if not is_.is_floating(values.type):
        return values
    return pc.if_else(pc.is_nan(values), pa.scalar(None, values.type), values)


def _class_names(schema: pa.Schema) -> dict[str, list[str]]:
    """Return the class names of each column that `datasets` wrote as numbers with names (ClassLabel)."""
    found = {}
    try:
        features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
        for column, its in features.items():
            # of a list, such as the tags of words, what is in it
            feature = its.get("feature") if isinstance(its, dict) and its.get("_type") in LISTS else its
            if isinstance(feature, dict) and feature.get("_type") == "ClassLabel":
                found[column] = [str(name) for name in feature["names"]]
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError):
        return {}
    return found


def _by_name(values: pa.Array, names: list[str], where: str) -> pa.Array:
    """Return the class's name for each number, or each in a list, in JSON by now; null for UNLABELLED."""
    if is_.is_integer(values.type):
        return pa.array([_named(number, names, where) for number in values.to_pylist()], pa.large_string())
    if not is_.is_large_string(values.type):
        return values
    lists: list[str | None] = []
    for text in values.to_pylist():
        numbers = from_json(text)
        if not isinstance(numbers, list) or not all(isinstance(number, int | None) for number in numbers):
            lists.append(text)
        else:
            lists.append(written([_named(number, names, where) for number in numbers]))
    return pa.array(lists, pa.large_string())


def _named(number: int | None, names: list[str], where: str) -> str | None:
    if number is None or number == UNLABELLED:
        return None
    if 0 <= number < len(names):
        return names[number]
    known = f"the file names {len(names)} classes, from 0 on"
    raise InputError(f"{where} holds the class {number}, but {known}; write the file again")
