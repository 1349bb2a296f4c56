"""Columns of Arrow's as a table takes them: checked, of plain types, classes by their names."""

import json
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as is_

from tasks.ingest.arrow_types import is_bytes, is_list, is_object, is_rows, is_text
from tasks.shared.errors import InputError
from tasks.shared.values import from_json, written

# what `datasets` calls a list, now and before
LISTS = ("List", "LargeList", "Sequence")
# what `datasets` writes where a row has no label
UNLABELLED = -1
# seconds
DAY = 86_400
FIRST, LAST, LONGEST = -62_135_596_800, 253_402_300_799, 999_999_999 * DAY
# how many seconds how many of a unit are
PARTS = {"D": (DAY, 1), "s": (1, 1), "ms": (1, 10**3), "us": (1, 10**6), "ns": (1, 10**9)}
BYTES = {"string": "binary", "large_string": "large_binary", "string_view": "binary_view"}
YEARS = "beyond the years 1 to 9999"


class UnusableError(InputError):
    """A column of a sound file holds what no table can: it is left out, or refused where it is wanted."""

    def __init__(self, sentence: str, why: str) -> None:
        super().__init__(sentence)
        self.why = why


def plain(column: pa.Array, where: str) -> pa.Array | None:
    """Return a column of a plain type, or None when its bytes are no text.

    where: what it is called in a sentence. Raises InputError when it is damaged, UnusableError when a date or
    time in it is none.
    """
    try:
        column = _spelled_out(_checked(column))
    except MemoryError:
        raise
    except (pa.ArrowException, ValueError, OverflowError) as error:
        # of what is nested, Python cannot hold each date
        raise damaged(where, error) from None
    if is_bytes(column.type):
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


def _checked(column: pa.Array) -> pa.Array:
    """Return a column as it is stored, texts as bytes; raises Arrow's exception when it is damaged."""
    stored = getattr(column.type, "storage_type", None)
    column = column if stored is None else column.cast(stored)
    if is_text(column.type):
        # as bytes first: where they lie is checked apart from whether they are text
        column = column.cast(BYTES[str(column.type)])
    column.validate(full=True)
    return column


def _spelled_out(column: pa.Array) -> pa.Array:
    """Return lists and objects as JSON, the values of a dictionary, and decimals that polars has."""
    kind = column.type
    if is_list(kind) or is_object(kind) or is_rows(kind):
        return pa.array([written(values) for values in column.to_pylist()], pa.large_string())
    column = column.cast(kind.value_type) if is_.is_dictionary(kind) else column
    if is_text(column.type):
        return column.cast(pa.large_string())
    # hundreds, say
    return column.cast(pa.decimal128(38, 0)) if _is_in_hundreds(column.type) else column


def _is_in_hundreds(kind: pa.DataType) -> bool:
    return bool(is_.is_decimal(kind)) and kind.scale < 0


def damaged(where: str, error: Exception) -> InputError:
    """Return the sentence for a column of which Arrow says that it is not sound."""
    said = " ".join(str(error).split())[:200]
    return InputError(f"{where} is damaged ({said}); write the file again")


def _refuse_out_of_time(column: Any, where: str) -> None:
    """Raise UnusableError for a moment or duration that Python cannot write, and that polars panics on."""
    kind = column.type
    parts = PARTS[str(getattr(kind, "unit", "ms" if is_.is_date64(kind) else "D"))]
    least, most = FIRST, LAST
    if is_.is_duration(kind):
        least, most = -LONGEST, LONGEST
        column = column.cast(pa.int64())
    for found in pc.min_max(column).values():
        number = found.as_py() if is_.is_duration(kind) else getattr(found, "value", None)
        if number is not None and not least <= number * parts[0] // parts[1] <= most:
            held = f"holds {number} as a {kind}, {YEARS}"
            raise UnusableError(f"{where} {held}; write the file again", YEARS)


def decoded(column: pa.Array) -> tuple[pa.Array, dict[int, bytes]]:
    """Return texts, null where the bytes are none, and those bytes by their index."""
    column = column.cast(column.type.value_type) if is_.is_dictionary(column.type) else column
    texts: list[str | None] = []
    undecoded: dict[int, bytes] = {}
    for index, held in enumerate(column.cast(pa.large_binary()).to_pylist()):
        try:
            texts.append(None if held is None else held.decode())
        except UnicodeDecodeError:
            texts.append(None)
            undecoded[index] = held
    return pa.array(texts, pa.large_string()), undecoded


def without_nan(values: pa.Array) -> pa.Array:
    """Return the values, null where they are not a number."""
    if not is_.is_floating(values.type):
        return values
    return pc.if_else(pc.is_nan(values), pa.scalar(None, values.type), values)


def class_names(schema: pa.Schema) -> dict[str, list[str]]:
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


def by_name(values: pa.Array, names: list[str], where: str) -> pa.Array:
    """Return the class's name for each number, or each in a list, in JSON by now; null for UNLABELLED.

    Raises UnusableError for a number that is no class.
    """
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
    sentence = f"{where} holds the class {number}, but {known}; write the file again"
    raise UnusableError(sentence, f"a class {number} of {len(names)}")
