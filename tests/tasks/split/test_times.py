"""When a row happened: ISO 8601 in all its spellings, what split.time_format settles, and what is refused, never guessed."""

from datetime import date, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tasks.shared.errors import InputError
from tasks.shared.params_file import Layer, lay_over
from tasks.split.times import times
from tests.support.split import many, refused, run

# 2026-01-01T00:00:00Z
SECONDS = 1_767_225_600


def moments(values: list[Any], form: str | None = None) -> list[Any]:
    return times(pl.Series(values), "when", form).to_list()


def test_days_and_timestamps_stand_in_one_column() -> None:
    said = [
        "2026-01-01",
        "2026-01-01T10:00:00Z",
        "2026-01-01 10:00",
        "2026-01-01T10:00:00.250+02:00",
        " 2026-01-02 ",
    ]
    hours = [0, 10, 10, 8, 24]
    assert moments(said) == [
        (SECONDS + hour * 3600) * 10**6 + (250_000 if hour == 8 else 0) for hour in hours
    ]


def test_the_epoch_counts_seconds_or_milliseconds_as_the_format_says() -> None:
    expected = [SECONDS * 10**6]
    assert moments([str(SECONDS)], "epoch_seconds") == moments([SECONDS], "epoch_seconds") == expected
    assert moments([float(SECONDS), float("nan")], "epoch_seconds") == [*expected, None]
    assert moments([str(SECONDS * 1000)], "epoch_milliseconds") == expected


@pytest.mark.parametrize(
    ("form", "value"),
    [
        ("%d/%m/%Y", "01/02/2026"),
        ("%m/%d/%y", "02/01/26"),
        ("%Y%m%d", 20260201),
        ("%d %b %Y %H:%M %z", "1 Feb 2026 01:00 +0100"),
    ],
)
def test_the_format_says_how_dates_are_written(form: str, value: object) -> None:
    assert moments([value], form) == moments(["2026-02-01"])


def test_types_for_times_and_years_as_numbers_are_times(tmp_path: Path) -> None:
    rows = many(30).with_columns(
        when=pl.date_range(pl.date(2026, 1, 1), pl.date(2026, 1, 30)), year=pl.int_range(1990, 2020)
    )
    for column, form in (("when", None), ("year", "%Y")):
        parts = run(tmp_path, rows, method="by_time", time_column=column, time_format=form)
        assert parts["test"][column].to_list() == rows[column][24:].to_list()


@pytest.mark.parametrize("missing", [None, "", "  ", float("nan")])
def test_what_is_missing_is_never_the_newest(tmp_path: Path, missing: object) -> None:
    values: list[Any] = [float(SECONDS)] * 29 if isinstance(missing, float) else [str(SECONDS)] * 29
    sentence = refused(
        tmp_path,
        many(30, when=[*values, missing]),
        method="by_time",
        time_column="when",
        time_format="epoch_seconds",
    )
    assert "1 rows have no 'when'" in sentence


@pytest.mark.parametrize(
    "values", [[str(SECONDS)], [SECONDS], [SECONDS * 1000], [float(SECONDS)], ["2026-01-01", "1767225600"]]
)
def test_a_bare_number_is_refused_with_what_to_set(values: list[Any]) -> None:
    with pytest.raises(
        InputError, match=r"set --split.time-format to epoch_seconds, epoch_milliseconds, or %Y for years"
    ):
        moments(values)


@pytest.mark.parametrize(
    "value", ["01/02/2026", "1.2.2026", "2026/01/02", "20260102T10", "yesterday", "2026-13-45", "true"]
)
def test_a_date_that_could_mean_two_days_or_none_is_refused_with_an_example(value: str) -> None:
    with pytest.raises(InputError) as error:
        moments(["2026-01-01", value, value])
    assert f"'{value}' in column 'when' is not a date (2 such)" in str(error.value)
    assert "--split.time-format %d/%m/%Y" in str(error.value)


@pytest.mark.parametrize(
    ("form", "value"),
    [
        ("%d/%m/%Y", "02/13/2026"),
        ("epoch_seconds", "2026-01-01"),
        ("epoch_seconds", "1e999999999"),
        ("epoch_seconds", "-1e99999999"),
        ("epoch_seconds", str(SECONDS * 1000)),
    ],
)
def test_what_is_not_as_the_format_says_is_refused(form: str, value: str) -> None:
    with pytest.raises(
        InputError,
        match=rf"'{value}' in column 'when' is not a time written as split.time_format '{form}' says",
    ):
        moments([value], form)


def test_dates_keep_their_type() -> None:
    assert moments([date(2026, 1, 1)]) == [date(2026, 1, 1)]
    assert moments([datetime(2026, 1, 1)]) == [datetime(2026, 1, 1)]  # noqa: DTZ001 (what a file without zones holds)


@pytest.mark.parametrize("form", ["%d/%m", "%Q", "seconds", "%H:%M"])
def test_a_format_that_tells_no_time_is_refused_at_once(form: str) -> None:
    with pytest.raises(InputError, match=r"split.time_format: '.*' cannot be read back as a time"):
        lay_over(Layer("params.yaml", {"split": {"time_format": form}}))
    assert lay_over(Layer("cli", {"split": {"time_format": "%Y-%m-%d"}})).split.time_format == "%Y-%m-%d"
