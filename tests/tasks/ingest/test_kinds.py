"""Columns of other kinds than text and label, and formats of a problem's own, on their way through ingest and split."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tasks.ingest import ingest
from tasks.problems import Problem
from tasks.shared.columns import Column
from tasks.shared.errors import InputError
from tasks.shared.files import read_json
from tasks.shared.params import Data, Ingest, Split
from tasks.shared.paths import Paths
from tasks.split import split
from tests.support.ingest import csv


class Tags(Problem):
    """Tags and a price for a title."""

    task = "tags"
    columns = {
        "title": Column("text", "input"),
        "tags": Column("categories", "target"),
        "price": Column("number", "target"),
    }

    def reject(self, rows: pl.DataFrame, params: Ingest) -> pl.Series:
        return rows.select(pl.when(pl.col("price") < 0).then(pl.lit("price: below 0"))).to_series()


class Lines(Tags):
    """The same in a format of its own."""

    def read(self, file: Path, params: Data) -> Iterator[dict[str, Any]] | None:
        if file.suffix != ".lines":
            return None
        return (
            {"title": line, "tags": line.split(), "price": number} for number, line in enumerate(file.open())
        )


def taken(folder: Path, source: Path, problem: Problem | None = None, **data: Any) -> pl.DataFrame:
    ingest(Data(path=str(source), **data), Ingest(max_rejected=0.9), problem or Tags(), Paths(folder))
    return pl.read_parquet(Paths(folder).ingested / "rows.parquet")


def rejected(folder: Path) -> list[str]:
    lines = (Paths(folder).ingested / "rejected.jsonl").read_text("utf-8").splitlines()
    return [json.loads(line)["reason"] for line in lines]


def test_lists_are_taken_where_a_row_has_several_labels(tmp_path: Path) -> None:
    rows = [{"title": "a", "tags": ["y", "x"], "price": 1}, {"title": "b", "tags": [], "price": 2.5}]
    expected = {"tags": [["x", "y"], []], "price": [1.0, 2.5]}
    pl.DataFrame(rows, strict=False).write_parquet(tmp_path / "raw.parquet")
    (tmp_path / "raw.json").write_text(json.dumps(rows))
    (tmp_path / "raw.jsonl").write_text("\n".join(map(json.dumps, rows)))
    csv(tmp_path, "title,tags,price", 'a,"y, x",1', "b,,2.5")
    for ending in ("parquet", "json", "jsonl", "csv"):
        found = taken(tmp_path / ending, tmp_path / f"raw.{ending}")
        assert found.select("tags", "price").to_dict(as_series=False) == expected, ending
        metrics = read_json(Paths(tmp_path / ending).metric("ingest"))
        assert metrics["labels"] == {"x": 1, "y": 1}
        assert metrics["columns"]["price"]["numbers"]["p100"] == 2.5


def test_a_list_of_something_else_or_under_another_column_is_no_value(tmp_path: Path) -> None:
    pl.DataFrame({"title": ["a"], "tags": [[{"x": 1}]], "price": [1]}).write_parquet(tmp_path / "raw.parquet")
    with pytest.raises(InputError, match=r"column 'tags' holds \w*list<"):
        taken(tmp_path, tmp_path / "raw.parquet")
    (tmp_path / "raw.jsonl").write_text(
        '{"title": ["a"], "tags": ["x"], "price": 1}\n{"title": "b", "tags": ["x"], "price": 1}'
    )
    assert taken(tmp_path, tmp_path / "raw.jsonl").height == 1
    assert rejected(tmp_path) == ["title: a list, not one value: ['a']"]


def test_a_row_is_rejected_for_what_its_kind_or_its_problem_cannot_use(tmp_path: Path) -> None:
    source = csv(tmp_path, "title,tags,price", "a,x,cheap", "b,x,-1", "c,x,1", "c,x,1.0", "c,y,1")
    assert taken(tmp_path, source)["tags"].to_list() == [["x"], ["y"]]
    assert [reason.split(":")[0:2] for reason in rejected(tmp_path)] == [
        ["price", " no finite number"],
        ["price", " below 0"],
        ["duplicate", " an earlier row of the same split says exactly this"],
    ]
    assert read_json(Paths(tmp_path).metric("ingest"))["conflicting_labels"] == 1


def test_a_problem_reads_a_format_of_its_own_and_leaves_tables_to_others(tmp_path: Path) -> None:
    (tmp_path / "raw.lines").write_text("one two\nthree")
    found = taken(tmp_path, tmp_path / "raw.lines", Lines())
    assert found.select("title", "tags", "price", "source_row").rows() == [
        ("one two\n", ["one", "two"], 0.0, 1),
        ("three", ["three"], 1.0, 2),
    ]
    assert taken(tmp_path, csv(tmp_path, "title,tags,price", "a,x,1"), Lines()).height == 1


def test_rows_with_several_labels_are_split_so_that_each_is_learned(tmp_path: Path) -> None:
    rows = [f"text {number},{'xyz'[number % 3]};{'xyz'[number % 2]},{number}" for number in range(60)]
    taken(tmp_path, csv(tmp_path, "title,tags,price", *rows))
    # with the price, by whose tenths rows would be told apart as well, each would be alone
    columns = {name: column for name, column in Tags.columns.items() if name != "price"}
    split(Split(method="stratified"), columns, Paths(tmp_path))
    told = read_json(Paths(tmp_path).metric("split"))["labels"]["tags"]
    assert told.keys() == {"train", "validation", "test"}
    assert set(told["train"]) == {"x", "y", "z"}
    taken(tmp_path, csv(tmp_path, "title,tags,price", *rows, "rare,rare,1"))
    with pytest.raises(
        InputError, match=r"1 of 4 labels have fewer rows than split.min_rows_per_label 2: 'rare' \(1\)"
    ):
        split(Split(), columns, Paths(tmp_path))
