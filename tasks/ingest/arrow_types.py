"""Which types of Arrow's hold what a table can: plain values, and lists and objects of them."""

import pyarrow as pa
import pyarrow.types as is_


def is_plain(kind: pa.DataType) -> bool:
    """Return whether a type is text, numbers, truth values, dates or times: all can be written again."""
    kind = getattr(kind, "storage_type", kind)
    kind = kind.value_type if is_.is_dictionary(kind) else kind
    numbers = (is_.is_integer, is_.is_floating, is_.is_boolean)
    decimals = (is_.is_decimal32, is_.is_decimal64, is_.is_decimal128)
    moments = (is_.is_date, is_.is_time, is_.is_timestamp, is_.is_duration, is_.is_null)
    return is_text(kind) or is_bytes(kind) or any(test(kind) for test in (*numbers, *decimals, *moments))


def is_text(kind: pa.DataType) -> bool:
    """Return whether a type says that it is text."""
    return bool(is_.is_string(kind) or is_.is_large_string(kind) or is_.is_string_view(kind))


def is_bytes(kind: pa.DataType) -> bool:
    """Return whether a type is bytes, which may well be text."""
    return bool(is_.is_binary(kind) or is_.is_large_binary(kind) or is_.is_binary_view(kind))


def is_list(kind: pa.DataType) -> bool:
    """Return whether a type is a list of plain values."""
    lists = (is_.is_list, is_.is_large_list, is_.is_fixed_size_list)
    return any(test(kind) for test in lists) and is_plain(kind.value_type)


def is_object(kind: pa.DataType) -> bool:
    """Return whether a type is an object of plain values, lists and other objects."""
    return bool(is_.is_struct(kind)) and all(_is_nested(field.type) for field in kind)


def is_rows(kind: pa.DataType) -> bool:
    """Return whether a type is a list of objects."""
    return bool(is_.is_list(kind) or is_.is_large_list(kind)) and is_object(kind.value_type)


def _is_nested(kind: pa.DataType) -> bool:
    return is_plain(kind) or is_list(kind) or is_object(kind) or is_rows(kind)
