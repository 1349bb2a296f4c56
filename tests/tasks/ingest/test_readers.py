"""Which raw files are read: folders, globs, what is refused, and real data sets whole."""

import csv
import os
from pathlib import Path

import polars as pl
import pytest

from tasks.ingest.readers import read
from tasks.shared.params import Data
from tests.support.project import SHARED
from tests.support.raw_files import PAIRS, pairs, refused, taken, write


def test_a_folder_is_read_in_the_order_of_its_names(tmp_path: Path) -> None:
    write(tmp_path / "b.csv", "text,label\nbye,leave\n")
    write(tmp_path / "a/z.JSONL", '{"label": "greet", "text": "hello"}\n')
    write(tmp_path / "README.md", "not data")
    write(tmp_path / ".hidden.csv", "text,label\nno,no\n")
    table, _, _ = read(Data(path=str(tmp_path)))
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
    table, _, _ = read(Data(path=str(tmp_path), files="20*/a.csv"))
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


# nothing is passed over without a word


def test_a_file_without_rows_among_others_is_named_and_passed_over(tmp_path: Path) -> None:
    write(tmp_path / "2026-01-01.csv", "text,label\nhello,greet\n")
    write(tmp_path / "2026-01-02.csv", "text,label\n")
    write(tmp_path / "2026-01-03.csv", "")
    write(tmp_path / "2026-01-04.csv", "text,label\nbye,leave\n")
    write(tmp_path / "2026-01-05.json", "[]")
    table, rejects, notes = read(Data(path=str(tmp_path)))
    assert (pairs(table), rejects) == (PAIRS, [])
    assert notes == ["2026-01-02.csv, 2026-01-03.csv, 2026-01-05.json: no rows"]


def test_files_that_all_lack_rows_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "a.csv", "text,label\n")
    write(tmp_path / "b.csv", "text,label\n")
    assert refused(tmp_path) == "a.csv: no rows in it; give a file with data"
    write(tmp_path / "b.csv", "text,label\nalone\nalone\n")
    assert "b.csv: no rows in it (2 unreadable: line 2: 1 fields where the first line has 2: alone)" in refused(tmp_path)


def test_a_split_without_rows_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "train.csv", "text,label\nhello,greet\n")
    write(tmp_path / "test.csv", "text,label\n")
    assert refused(tmp_path, train_file="train.csv", test_file="test.csv").startswith("test.csv: no rows in it")


def test_a_file_of_which_no_row_can_be_read_counts_among_others(tmp_path: Path) -> None:
    write(tmp_path / "a.csv", "text,label\nhello,greet\nbye,leave\n")
    write(tmp_path / "b.csv", "text,label\nalone\n")
    table, rejects, _ = read(Data(path=str(tmp_path)))
    assert (pairs(table), [reject.file for reject in rejects]) == (PAIRS, ["b.csv"])


def test_every_file_that_is_passed_over_is_named(tmp_path: Path) -> None:
    write(tmp_path / "a.csv", "text,label\nhello,greet\n")
    for name in ("b.csv.gz", "README", ".hidden.csv", "old/.trash/c.csv", ".gitignore", "d.csv.dvc"):
        write(tmp_path / name, "nothing")
    os.mkfifo(tmp_path / "pipe.csv")
    assert read(Data(path=str(tmp_path))).notes == [
        ".hidden.csv, old/.trash/c.csv: not read, hidden",
        "README, b.csv.gz: not read, no ending of a known format",
        "pipe.csv: not read, no regular file",
    ]


# links


def test_a_link_inside_the_folder_is_read_once_and_named(tmp_path: Path) -> None:
    write(tmp_path / "2026/a.csv", "text,label\nhello,greet\n")
    (tmp_path / "latest.csv").symlink_to("2026/a.csv")
    (tmp_path / "current").symlink_to("2026")
    table, _, notes = read(Data(path=str(tmp_path)))
    assert table["source_file"].to_list() == ["2026/a.csv"]
    assert notes == ["latest.csv: not read, a link to 2026/a.csv, which is"]
    assert taken(tmp_path, files="latest.csv") == taken(tmp_path, files="current/*.csv") == [("hello", "greet")]


def test_a_link_to_a_file_that_is_not_read_by_itself_is_read(tmp_path: Path) -> None:
    write(tmp_path / "export", "text,label\nhello,greet\n")
    (tmp_path / "latest.csv").symlink_to("export")
    assert taken(tmp_path) == [("hello", "greet")]


@pytest.mark.parametrize(
    ("link", "files"),
    [("link", None), ("link", "**/*.csv"), ("link", "link/*.csv"), ("link.csv", None), ("link.csv", "**/*.csv"), ("link.csv", "l*")],
)
def test_a_link_that_leads_out_of_the_folder_is_refused(tmp_path: Path, link: str, files: str | None) -> None:
    write(tmp_path / "data/a.csv", "text,label\nhello,greet\n")
    outside = write(tmp_path / "elsewhere/b.csv", "text,label\nbye,leave\n")
    (tmp_path / "data" / link).symlink_to(outside if link == "link.csv" else outside.parent)
    sentence = refused(tmp_path / "data", files=files)
    assert sentence.startswith("link")
    assert f"leads to '{tmp_path}/elsewhere" in sentence


def test_a_link_to_nothing_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "a.csv", "text,label\nhello,greet\n")
    (tmp_path / "b.csv").symlink_to("gone.csv")
    assert refused(tmp_path) == "b.csv: a link to gone.csv, which is not there; mend or remove it"


def test_the_folder_itself_may_be_a_link(tmp_path: Path) -> None:
    write(tmp_path / "disk/a.csv", "text,label\nhello,greet\n")
    (tmp_path / "raw").symlink_to("disk")
    assert taken(tmp_path / "raw") == taken(tmp_path / "raw/a.csv") == [("hello", "greet")]


# real data


@pytest.mark.shared
@pytest.mark.parametrize(("name", "rows"), [("train.csv", 10_003), ("test.csv", 3_080)])
def test_banking77_has_its_published_number_of_rows(name: str, rows: int) -> None:
    table, rejects, _ = read(Data(path=str(SHARED / "banking77" / name)))
    assert (table.height, rejects, table.columns[:2]) == (rows, [], ["text", "category"])
    assert table["category"].n_unique() == 77


@pytest.mark.shared
def test_clinc150_is_addressed_inside_its_json() -> None:
    table, rejects, _ = read(Data(path=str(SHARED / "clinc150"), train_file="data_full.json#train", test_file="data_full.json#test"))
    assert rejects == []
    assert dict(table["source_split"].value_counts().iter_rows()) == {"train": 15_000, "test": 4_500}
    assert table["column_2"].n_unique() == 150


@pytest.mark.shared
@pytest.mark.parametrize(("name", "rows"), [("train.tsv", 17_500), ("dev.tsv", 3_750), ("test.tsv", 3_850)])
def test_query_wellformedness_loses_no_first_row(name: str, rows: int) -> None:
    table, rejects, _ = read(Data(path=str(SHARED / "query_wellformedness" / name), header=False))
    assert (table.height, rejects) == (rows, [])
    assert table["column_2"].cast(pl.Float64).is_between(0, 1).all()


@pytest.mark.shared
def test_every_snapshot_of_the_kev_catalogue_reads() -> None:
    files = sorted((SHARED / "cisa_kev/snapshots").glob("*.csv"))
    assert len(files) == 4
    for file in files:
        table, rejects, _ = read(Data(path=str(file)))
        with file.open(encoding="utf-8-sig", newline="") as lines:
            assert table["cveID"].to_list() == [row["cveID"] for row in csv.DictReader(lines)]
        assert rejects == []
