"""Which raw files are read: folders, globs, what is refused, and real data sets whole."""

import csv
from pathlib import Path

import polars as pl
import pytest

from tasks.params import Data
from tasks.readers import read
from tests.conftest import SHARED
from tests.test_formats import PAIRS, pairs, refused, taken, write


def test_a_folder_is_read_in_the_order_of_its_names(tmp_path: Path) -> None:
    write(tmp_path / "b.csv", "text,label\nbye,leave\n")
    write(tmp_path / "a/z.JSONL", '{"label": "greet", "text": "hello"}\n')
    write(tmp_path / "README.md", "not data")
    write(tmp_path / ".hidden.csv", "text,label\nno,no\n")
    table, _ = read(Data(path=str(tmp_path)))
    assert table["source_file"].to_list() == ["a/z.JSONL", "b.csv"]
    assert table.select("text", "label").rows() == PAIRS


def test_copies_in_hidden_folders_are_passed_over(tmp_path: Path) -> None:
    write(tmp_path / "a.csv", "text,label\nhello,greet\n")
    write(tmp_path / ".ipynb_checkpoints/a-checkpoint.csv", "text,label\nold,greet\n")
    assert taken(tmp_path) == [("hello", "greet")]


def test_a_glob_picks_files_and_columns_that_only_some_have_are_null_elsewhere(tmp_path: Path) -> None:
    write(tmp_path / "2025/a.csv", "text,label\nhello,greet\n")
    write(tmp_path / "2026/a.csv", "label,text,when\nleave,bye,now\n")
    write(tmp_path / "2026/notes.csv", "nothing\nhere\n")
    table, _ = read(Data(path=str(tmp_path), files="20*/a.csv"))
    assert pairs(table) == PAIRS
    assert table["when"].to_list() == [None, "now"]


def test_files_of_different_types_in_one_folder_become_one_table(tmp_path: Path) -> None:
    pl.DataFrame({"text": ["hello"], "label": [1]}).write_parquet(tmp_path / "a.parquet")
    write(tmp_path / "b.csv", "text,label\nbye,leave\n")
    assert taken(tmp_path) == [("hello", "1"), ("bye", "leave")]


def test_a_glob_that_matches_nothing_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "a.csv", "text,label\nhello,greet\n")
    assert "no file in" in refused(tmp_path, files="*.parquet")
    assert "'*.parquet'" in refused(tmp_path, files="*.parquet")


@pytest.mark.parametrize("pattern", ["../outside.csv", "{outside}"])
def test_a_glob_cannot_leave_the_folder_that_the_stage_depends_on(tmp_path: Path, pattern: str) -> None:
    outside = write(tmp_path / "outside.csv", "text,label\nhello,greet\n")
    write(tmp_path / "inside/a.csv", "text,label\nhello,greet\n")
    assert "data." in refused(tmp_path / "inside", files=pattern.format(outside=outside))


def test_a_file_cannot_be_picked_from_a_file(tmp_path: Path) -> None:
    assert "is one file" in refused(write(tmp_path / "a.csv", "text,label\nhello,greet\n"), files="*.csv")


def test_a_path_that_does_not_exist_says_how_to_give_one(tmp_path: Path) -> None:
    assert "--data.path" in refused(tmp_path / "nowhere.csv")


def test_an_unknown_ending_asks_for_the_format(tmp_path: Path) -> None:
    file = write(tmp_path / "export.txt", "text,label\nhello,greet\nbye,leave\n")
    assert "set data.format" in refused(file)
    assert taken(file, format="csv") == PAIRS


# real data


@pytest.mark.shared
@pytest.mark.parametrize(("name", "rows"), [("train.csv", 10_003), ("test.csv", 3_080)])
def test_banking77_has_its_published_number_of_rows(name: str, rows: int) -> None:
    table, rejects = read(Data(path=str(SHARED / "banking77" / name)))
    assert (table.height, rejects, table.columns[:2]) == (rows, [], ["text", "category"])
    assert table["category"].n_unique() == 77


@pytest.mark.shared
def test_clinc150_is_addressed_inside_its_json() -> None:
    table, rejects = read(Data(path=str(SHARED / "clinc150"), train_file="data_full.json#train", test_file="data_full.json#test"))
    assert rejects == []
    assert dict(table["source_split"].value_counts().iter_rows()) == {"train": 15_000, "test": 4_500}
    assert table["column_2"].n_unique() == 150


@pytest.mark.shared
@pytest.mark.parametrize(("name", "rows"), [("train.tsv", 17_500), ("dev.tsv", 3_750), ("test.tsv", 3_850)])
def test_query_wellformedness_loses_no_first_row(name: str, rows: int) -> None:
    table, rejects = read(Data(path=str(SHARED / "query_wellformedness" / name), header=False))
    assert (table.height, rejects) == (rows, [])
    assert table["column_2"].cast(pl.Float64).is_between(0, 1).all()


@pytest.mark.shared
def test_every_snapshot_of_the_kev_catalogue_reads() -> None:
    files = sorted((SHARED / "cisa_kev/snapshots").glob("*.csv"))
    assert len(files) == 4
    for file in files:
        table, rejects = read(Data(path=str(file)))
        with file.open(encoding="utf-8-sig", newline="") as lines:
            assert table["cveID"].to_list() == [row["cveID"] for row in csv.DictReader(lines)]
        assert rejects == []
