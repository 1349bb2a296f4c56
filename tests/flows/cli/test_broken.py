"""Files that are broken, or hold what nobody expects: each row as it is, or rejected with its place; never a traceback."""

import json
from decimal import Decimal
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet
import pytest

from flows.report.costs import taken
from tasks import problems
from tasks.ingest import ingest
from tasks.ingest.readers import read
from tasks.ingest.rows import Wanted
from tasks.shared.costs import Cost
from tasks.shared.errors import InputError
from tasks.shared.params import Data, Ingest
from tasks.shared.paths import Paths
from tests.attacks.files import odd_columns
from tests.support.ingest import refused as not_taken_in
from tests.support.ingest import run as take_in
from tests.support.raw_files import refused, write

GOOD = ['{"text": "hello", "label": "greet"}'] * 3
DIGITS = "9" * 5000

ROWS = {
    "half a character as a key": ('{"text": "x", "label": "a", "\\ud800": 1}', "half a character"),
    "half a character as a value": ('{"text": "\\udfff", "label": "a"}', "half a character"),
    "half a character deep inside": (
        '{"text": "x", "label": "a", "n": [{"\\ud800": 1}]}',
        "half a character",
    ),
    "half a character in what is no text": (
        '{"text": ["\\ud800"], "label": "a"}',
        "text: a list, not one value: ['\\ud800']",
    ),
    "half a character as a row": ('"\\ud800 x"', "a row is an object or a list, this is str: \\ud800 x"),
    "strings beside lists": ('{"text": ["x", "y"], "label": "a"}', "text: a list, not one value"),
    "nothing": ("{}", "unreadable: there is nothing in it"),
    "an empty list": ("[]", "unreadable: there is nothing in it"),
    "a number alone": ("7", "a row is an object or a list, this is int: 7"),
}


@pytest.mark.parametrize("case", ROWS)
@pytest.mark.parametrize("kind", ["jsonl", "json"])
@pytest.mark.parametrize("alone", [True, False])
def test_a_row_that_is_none_is_rejected_with_its_place_alone_and_among_others(
    case: str, kind: str, tmp_path: Path, *, alone: bool
) -> None:
    row, says = ROWS[case]
    rows = [row] if alone else [*GOOD[:1], row, *GOOD[1:]]
    file = write(tmp_path / f"a.{kind}", "\n".join(rows) if kind == "jsonl" else f"[{','.join(rows)}]")
    if alone:
        with pytest.raises(InputError) as error:
            read(Data(path=str(file)), Wanted({"text": "text", "label": "label"}))
        assert says in str(error.value)
        return
    out = tmp_path / "out"
    problem = problems.load("text_classification")
    ingest(Data(path=str(file)), Ingest(max_rejected=0.5, drop_duplicates=False), problem, Paths(out))
    (rejected,) = map(json.loads, (Paths(out).ingested / "rejected.jsonl").read_text("utf-8").splitlines())
    assert (rejected["file"], rejected["row"]) == ("a.jsonl" if kind == "jsonl" else "a.json", 2)
    assert says in rejected["reason"]


def test_a_number_of_thousands_of_digits_is_said_to_be_one(tmp_path: Path) -> None:
    row = f'{{"text": "x", "label": -{DIGITS}}}'
    lines = write(tmp_path / "a.jsonl", "\n".join([*GOOD, row]))
    _, (rejected,), _ = read(Data(path=str(lines)))
    assert rejected.row == 4
    assert rejected.reason.startswith("unreadable: not JSON (a number of more than 4300 digits)")
    document = write(tmp_path / "a.json", "[" + ",\n".join([*GOOD, row]) + "]")
    assert (
        refused(document)
        == "a.json: line 4 holds a number of more than 4300 digits; write it as text, in quotes"
    )
    assert "a number of more than 4300 digits" in refused(write(tmp_path / "b.jsonl", DIGITS))


def test_a_column_that_is_not_among_thousands_is_said_with_the_first_of_them(tmp_path: Path) -> None:
    names = [f"c{number}" for number in range(900)]
    file = write(tmp_path / "a.csv", ",".join(names) + "\n" + ",".join("x" for _ in names) + "\n")
    with pytest.raises(InputError) as error:
        ingest(Data(path=str(file)), Ingest(), problems.load("text_classification"), Paths(tmp_path / "out"))
    assert "c38, c39 and 860 more; say which one is the text" in str(error.value)


def written(table: pa.Table, kind: str, folder: Path) -> Path | None:
    """Return a file with a table in it, or None when the format has no word for a type in it."""
    file = folder / f"a.{kind}"
    try:
        if kind == "parquet":
            pa.parquet.write_table(table, file)
        elif kind == "feather":
            pa.feather.write_feather(table, file)
        else:
            with pa.ipc.new_stream(file, table.schema) as writer:
                writer.write_table(table)
    except (pa.ArrowException, OSError, TypeError, ValueError):
        return None
    return file


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["parquet", "arrow", "feather"])
def test_a_column_of_any_type_of_arrow_is_text_a_label_more_or_a_sentence(kind: str, tmp_path: Path) -> None:
    problem = problems.load("text_classification")
    plain = pa.array(["a", "b"] * 3)
    tried = 0
    for name, odd in odd_columns(6).items():
        for columns in (
            {"text": odd, "label": plain},
            {"text": plain, "label": odd},
            {"text": plain, "label": plain, "odd": odd},
        ):
            file = written(pa.table(columns), kind, tmp_path)
            if file is None:
                continue
            tried += 1
            try:
                ingest(Data(path=str(file)), Ingest(max_rejected=0.99), problem, Paths(tmp_path / "out"))
            except InputError as error:
                said = str(error)
                assert "odd" not in columns or "damaged" in said, f"{name}: {said}"
                assert file.name in said or "rows are rejected" in said, f"{name}: {said}"
    assert tried > 50


def test_durations_and_decimals_are_text_as_people_write_them(tmp_path: Path) -> None:
    odd = odd_columns(2)
    table = pa.table({"text": odd["duration"], "label": odd["scale"], "more": odd["decimal"]})
    file = written(table, "arrow", tmp_path)
    out = tmp_path / "out"
    ingest(Data(path=str(file)), Ingest(), problems.load("text_classification"), Paths(out))
    rows = pl.read_parquet(Paths(out).ingested / "rows.parquet")
    assert rows.select("text", "label").rows() == [("PT0S", "2500"), ("PT1H", "2500")]
    assert rows["more"].to_list() == [Decimal("-1.50")] * 2


def test_duplicate_columns_are_refused_by_name(tmp_path: Path) -> None:
    column = pa.array(["a", "b"])
    for names in (["text", "label", "label"], ["text", "label", " label "]):
        for kind in ("parquet", "arrow"):
            file = written(pa.Table.from_arrays([column] * 3, names=names), kind, tmp_path)
            assert file is not None
            assert "two columns are called label; rename one" in refused(file)


MOMENTS = {
    "a date": (pa.date32(), 2**31 - 1),
    "a date before the first": (pa.timestamp("s"), -62_135_596_801),
    "a moment": (pa.timestamp("us", "UTC"), 2**63 - 1),
    "a duration": (pa.duration("s"), 2**63 - 1),
}


@pytest.mark.parametrize("case", MOMENTS)
def test_a_moment_that_no_calendar_has_is_refused_before_polars_panics_on_it(
    case: str, tmp_path: Path
) -> None:
    kind, number = MOMENTS[case]
    odd = pa.array([number, 0], pa.int32() if kind.bit_width == 32 else pa.int64()).view(kind)
    plain = pa.array(["a", "b"])
    file = written(pa.table({"text": plain, "label": plain, "odd": odd}), "arrow", tmp_path)
    assert file is not None
    said = f"holds {number} as a {kind}, beyond the years 1 to 9999"
    assert said in not_taken_in(tmp_path / "asked", file, {"label": "odd"})
    # what nobody asked for is left out
    assert take_in(tmp_path, file).rows["label"].to_list() == ["a", "b"]


@pytest.mark.parametrize(
    "told",
    [
        "",
        "{",
        "[]",
        '{"seconds": "x", "memory": 1, "device": "cpu"}',
        '{"seconds": NaN, "memory": 1, "device": "cpu"}',
        '{"seconds": 3, "memory": -1, "device": "cpu"}',
        "[" * 100_000,
        "\xff",
    ],
)
def test_what_stages_took_is_unknown_where_the_file_that_says_it_is_broken(told: str, tmp_path: Path) -> None:
    file = tmp_path / ".retrain/costs/train.jsonl"
    write(file, told.encode("latin-1"))
    assert taken(tmp_path, ["train"]) == {}
    write(file, told.encode("latin-1") + b'\n{"seconds": 3, "memory": null, "device": "cpu"}\n')
    assert taken(tmp_path, ["train"]) == {"train": [Cost(3.0, None, "cpu")]}
