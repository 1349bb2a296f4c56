"""One value is written one way, whatever the format: missing, whole numbers, truth values, lists, names that come twice."""

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tasks.ingest.readers import read
from tasks.shared.errors import InputError
from tasks.shared.params import Data
from tasks.shared.values import as_text, written
from tests.support.ingest import LENIENT, run
from tests.support.ingest import refused as refused_by_ingest
from tests.support.raw_files import refused, write

NAN = float("nan")


def jsonl(path: Path, *rows: dict[str, Any]) -> Path:
    return write(path, "".join(json.dumps(row) + "\n" for row in rows))


def rows_with(labels: list[Any]) -> list[dict[str, Any]]:
    return [{"text": f"text {i}", "label": label} for i, label in enumerate(labels)]


@pytest.mark.parametrize(
    ("values", "texts"),
    [
        (
            [1.0, -2.0, 0.5, 1e-7, -0.0, 1e20, NAN, None],
            ["1", "-2", "0.5", "1e-07", "0", "1" + "0" * 20, None, None],
        ),
        ([Decimal("1.00"), Decimal("1.50"), Decimal(100)], ["1", "1.5", "100"]),
        ([True, False, None], ["true", "false", None]),
        ([1, 2**60], ["1", str(2**60)]),
        (["1.0", "NaN", ""], ["1.0", "NaN", ""]),
    ],
)
def test_a_value_is_written_alike_alone_and_in_a_column(values: list[Any], texts: list[str | None]) -> None:
    assert [written(value) for value in values] == texts
    assert as_text(pl.Series(values)).to_list() == texts


def test_a_short_float_keeps_its_digits() -> None:
    assert as_text(pl.Series([0.1, 1.0, NAN], dtype=pl.Float32)).to_list() == ["0.1", "1", None]


# missing


@pytest.mark.parametrize("ending", ["jsonl", "json", "parquet"])
def test_nan_is_missing_and_never_a_label_or_a_text(tmp_path: Path, ending: str) -> None:
    rows = [{"text": "a", "label": 1.5}, {"text": "b", "label": NAN}, {"text": NAN, "label": 2.5}]
    file = tmp_path / f"raw.{ending}"
    if ending == "parquet":
        pl.DataFrame({"text": [0.5, 1.5, NAN], "label": [1.5, NAN, 2.5]}).write_parquet(file)
    else:
        write(file, json.dumps(rows) if ending == "json" else "".join(json.dumps(row) + "\n" for row in rows))
    found = run(tmp_path, file, **LENIENT)
    assert found.rows["label"].to_list() == ["1.5"]
    assert [reject["reason"] for reject in found.rejected] == ["label: missing", "text: missing"]
    assert "NaN" not in (tmp_path / "data/ingested/rejected.jsonl").read_text("utf-8")


def test_what_is_kept_of_a_rejected_row_is_json(tmp_path: Path) -> None:
    pl.DataFrame({"text": ["a", ""], "label": ["x", "y"], "score": [1.0, float("inf")]}).write_parquet(
        tmp_path / "raw.parquet"
    )
    run(tmp_path, tmp_path / "raw.parquet", **LENIENT)
    line = (tmp_path / "data/ingested/rejected.jsonl").read_text("utf-8")
    assert json.loads(line, parse_constant=pytest.fail)["values"]["score"] == "inf"


# one label


def labels_of(folder: Path, source: Path, **params: Any) -> list[str]:
    return run(folder, source, **params).rows["label"].to_list()


def test_whole_numbers_are_one_label_as_integers_and_as_floats(tmp_path: Path) -> None:
    pl.DataFrame({"text": ["a", "b", "c"], "label": [0.0, 1.0, NAN]}).write_parquet(tmp_path / "raw.parquet")
    assert labels_of(tmp_path, tmp_path / "raw.parquet", **LENIENT) == ["0", "1"]
    assert labels_of(tmp_path, jsonl(tmp_path / "raw.jsonl", *rows_with([0, 0.0, 1, 1.0]))) == [
        "0",
        "0",
        "1",
        "1",
    ]


@pytest.mark.parametrize("second", ["b.parquet", "b.csv", "b.jsonl"])
def test_a_folder_with_integers_here_and_floats_there_has_one_label(tmp_path: Path, second: str) -> None:
    (tmp_path / "raw").mkdir()
    pl.DataFrame({"text": ["a", "b"], "label": [0, 1]}).write_parquet(tmp_path / "raw/a.parquet")
    floats = pl.DataFrame({"text": ["c", "d"], "label": [0.0, 1.0]})
    {"b.parquet": floats.write_parquet, "b.csv": floats.write_csv, "b.jsonl": floats.write_ndjson}[second](
        tmp_path / "raw" / second
    )
    assert labels_of(tmp_path, tmp_path / "raw") == ["0", "1", "0", "1"]


def test_a_second_spelling_of_a_number_or_a_truth_value_is_said(tmp_path: Path) -> None:
    numbers = write(tmp_path / "a.csv", "text,label\na,0\nb,1.0\nc,1\n")
    found = run(tmp_path / "numbers", numbers)
    assert found.rows["label"].to_list() == ["0", "1", "1"]
    assert found.metrics["notes"] == ["labels in more than one spelling: 1.0 is written 1"]
    write(tmp_path / "raw/a.jsonl", "".join(json.dumps(row) + "\n" for row in rows_with([True, False])))
    write(tmp_path / "raw/b.csv", "text,label\nb,True\nc,FALSE\n")
    found = run(tmp_path / "truth", tmp_path / "raw")
    assert found.rows["label"].to_list() == ["true", "false", "true", "false"]
    assert found.metrics["notes"] == [
        "labels in more than one spelling: FALSE is written false, True is written true"
    ]


@pytest.mark.parametrize(
    "labels", [["1.0", "2.0"], ["1.0", "1", "beta"], ["1.10", "1.1"], ["True", "False"], ["007", "7"]]
)
def test_labels_of_text_in_one_spelling_or_of_words_stay_as_they_are(
    tmp_path: Path, labels: list[str]
) -> None:
    source = write(
        tmp_path / "a.csv", "text,label\n" + "".join(f"text {i},{label}\n" for i, label in enumerate(labels))
    )
    found = run(tmp_path, source)
    assert found.rows["label"].to_list() == labels
    assert "notes" not in found.metrics


# several values, names that come twice


@pytest.mark.parametrize("ending", ["json", "jsonl"])
def test_lists_and_objects_in_a_named_column_are_rejects_and_elsewhere_text(
    tmp_path: Path, ending: str
) -> None:
    rows = [
        {"body": "a", "label": ["x"], "more": [1]},
        {"body": {"plain": "b"}, "label": "x", "more": [2]},
        {"body": "c", "label": "y", "more": [3]},
    ]
    content = json.dumps(rows) if ending == "json" else "".join(json.dumps(row) + "\n" for row in rows)
    file = write(tmp_path / f"raw.{ending}", content)
    found = run(tmp_path, file, {"text": "body"}, **LENIENT)
    assert found.pairs == [("c", "y")]
    assert found.rows["more"].to_list() == ["[3]"]
    assert [reject["reason"] for reject in found.rejected] == [
        "label: a list, not one value: ['x']",
        "text: an object, not one value: {'plain': 'b'}",
    ]
    sentence = refused_by_ingest(tmp_path / "again", file, {"text": "body"})
    assert "1 label: a list, not one value (first: " in sentence


@pytest.mark.parametrize(
    "row", ['{"text": "a", "label": "x", " label": "y"}', '{"text": "a", "label": "x", "label": "y"}']
)
@pytest.mark.parametrize("ending", ["json", "jsonl"])
def test_an_object_that_names_a_column_twice_is_refused(tmp_path: Path, row: str, ending: str) -> None:
    good = '{"text": "a", "label": "x"}'
    content = f"[{good},{row}]" if ending == "json" else f"{good}\n{row}\n"
    assert f"raw.{ending}: row 2 names a column twice: " in refused(
        write(tmp_path / f"raw.{ending}", content)
    )


def test_a_key_that_comes_twice_deeper_inside_is_nobodys_column(tmp_path: Path) -> None:
    file = write(tmp_path / "raw.jsonl", '{"text": "a", "label": "x", "more": {"k": 1, "k": 2}}\n')
    assert read(Data(path=str(file))).table.height == 1


def test_a_column_of_the_file_that_is_not_named_may_hold_anything_in_json(tmp_path: Path) -> None:
    file = jsonl(
        tmp_path / "raw.jsonl", {"text": "a", "label": "x", "id": [1]}, {"text": "b", "label": "y", "id": 2}
    )
    assert run(tmp_path, file).rows["raw_id"].to_list() == ["[1]", "2"]
    with pytest.raises(InputError, match="rows are rejected"):
        run(tmp_path / "again", file, {"label": "id"})
