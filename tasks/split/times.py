"""When a row happened: what a column of dates says, read by one rule and never guessed."""

import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import polars as pl

from tasks.shared.errors import InputError
from tasks.shared.params.split import EPOCHS
from tasks.shared.values import as_text

START = datetime(1970, 1, 1, tzinfo=UTC)
END = (datetime(9999, 12, 31, tzinfo=UTC) - START) // timedelta(microseconds=1)
ISO_DAY = re.compile(r"\d{4}-\d{2}-\d{2}(?!\d)")
NUMBER = re.compile(r"[+-]?\d+(\.\d+)?")


def times(column: pl.Series, name: str, form: str | None) -> pl.Series:
    """Return the times in a column, null where it is empty.

    Microseconds since 1970, or its own where it has a type for times. Text is ISO 8601, days and timestamps
    together (a day is its midnight, and what names no zone is UTC), or as `form` says: strftime's directives,
    or one of EPOCHS. Raises InputError naming the first value that is not.
    """
    if column.dtype in (pl.Date, pl.Datetime):
        return column
    said = as_text(column).str.strip_chars()
    said = said.set(said == "", None)
    moments: dict[str, int] = {}
    wrong: set[str] = set()
    for value in said.drop_nulls().unique(maintain_order=True):
        try:
            moments[value] = _microseconds(value, form)
        except (ValueError, ArithmeticError):
            wrong.add(value)
    if wrong:
        raise InputError(_sentence(said.filter(said.is_in(list(wrong))), name, form))
    return pl.Series([moments.get(value) for value in said], dtype=pl.Int64)


def _microseconds(value: str, form: str | None) -> int:
    if form in EPOCHS:
        count = Decimal(value) * EPOCHS[form]
        # looked at before it is written out: 1e99999999 has as many digits
        if not abs(count) <= END:
            raise OverflowError
        return int(count)
    if form is None and not ISO_DAY.match(value):
        raise ValueError(value)
    moment = datetime.strptime(value, form) if form else datetime.fromisoformat(value)  # noqa: DTZ007 (the next line)
    return ((moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - START) // timedelta(microseconds=1)


def _sentence(wrong: pl.Series, name: str, form: str | None) -> str:
    """Return what is wrong with the values that are no times, and what to do."""
    first = f"split.time_column: '{wrong[0]}' in column '{name}'"
    if form:
        how = f"is not a time written as split.time_format '{form}' says ({wrong.len()} such)"
        return f"{first} {how}; correct the format or the values"
    if NUMBER.fullmatch(wrong[0]):
        how = f"is not a date but a number, which does not say what it counts ({wrong.len()} are no dates)"
        return f"{first} {how}; set --split.time-format to {', '.join(EPOCHS)}, or %Y for years"
    return (
        f"{first} is not a date ({wrong.len()} such); write dates as 2026-01-31 or 2026-01-31T12:00:00Z, "
        "or say how they are written, as in --split.time-format %d/%m/%Y"
    )
