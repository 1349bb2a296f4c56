"""How one value is written as text, whatever the format: 1, 1.0 and 1.00 are one label."""

import json
import math
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

import polars as pl


def written(value: object) -> str | None:
    """Return a value as text, or None where there is none: null and NaN.

    Text stays as it is, whole numbers lose `.0`, other numbers lose trailing zeros, true and false are small.
    What holds several values, a list or an object, becomes JSON, in which what JSON has no word for is text.
    """
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, float):
        if math.isnan(value):
            return None
        # plus nothing, for -0.0
        return f"{value + 0.0:.0f}" if value.is_integer() else repr(value)
    if isinstance(value, Decimal):
        digits = f"{value:f}"
        return digits.rstrip("0").rstrip(".") if "." in digits else digits
    return json.dumps(value, ensure_ascii=False, sort_keys=True, default=_in_json)


def _in_json(value: object) -> str | None:
    """Return a decimal, bytes, a date, time or duration (ISO 8601) as text; moments in UTC."""
    if isinstance(value, bytes):
        return value.decode(errors="backslashreplace")
    if isinstance(value, timedelta):
        return f"PT{written(value.total_seconds())}S"
    if isinstance(value, datetime):
        moment = value.astimezone(UTC) if value.tzinfo else value
        return moment.isoformat(timespec="microseconds")
    if isinstance(value, date | time):
        return value.isoformat()
    if isinstance(value, Decimal):
        return written(value)
    raise TypeError(f"{type(value).__name__} has no word in JSON")


def from_json(text: str | None) -> Any:
    """Return what a text says in JSON; None where it is none, or nested deeper than Python reads."""
    try:
        return json.loads(text or "")
    except (ValueError, RecursionError):
        return None


def as_text(column: pl.Series) -> pl.Series:
    """Return a column as text, each value as `written` writes it; dates, times and durations in ISO 8601."""
    if column.dtype == pl.Float32:
        # through its shortest digits: 0.1 is not 0.10000000149011612
        column = column.cast(pl.String).cast(pl.Float64)
    if column.dtype.is_float() or column.dtype.is_decimal():
        distinct = column.unique().to_list()
        words = pl.Series([written(value) for value in distinct], dtype=pl.String)
        return column.replace_strict(pl.Series(distinct, dtype=column.dtype), words, return_dtype=pl.String)
    if isinstance(column.dtype, pl.List):
        return pl.Series(column.name, map(written, column.to_list()), dtype=pl.String)
    if column.dtype == pl.Datetime:
        return column.dt.to_string("iso:strict")
    if column.dtype == pl.Duration:
        return column.dt.to_string("iso")
    return column.cast(pl.String)
