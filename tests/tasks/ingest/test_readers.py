"""Which raw files are read: folders, globs, what is refused, and real data sets whole."""

import csv
import os
from pathlib import Path

import polars as pl
import pytest

from tasks.ingest.readers import read
from tasks.ingest.rows import Wanted
from tasks.shared.errors import InputError
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
    assert (
        "b.csv: no rows in it (2 unreadable: line 2: 1 fields where the first line has 2: alone)"
        in refused(tmp_path)
    )


def test_a_split_without_rows_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "train.csv", "text,label\nhello,greet\n")
    write(tmp_path / "test.csv", "text,label\n")
    assert refused(tmp_path, train_file="train.csv", test_file="test.csv").startswith(
        "test.csv: no rows in it"
    )


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
    assert (
        taken(tmp_path, files="latest.csv") == taken(tmp_path, files="current/*.csv") == [("hello", "greet")]
    )


def test_a_link_to_a_file_that_is_not_read_by_itself_is_read(tmp_path: Path) -> None:
    write(tmp_path / "export", "text,label\nhello,greet\n")
    (tmp_path / "latest.csv").symlink_to("export")
    assert taken(tmp_path) == [("hello", "greet")]


@pytest.mark.parametrize(
    ("link", "files"),
    [
        ("link", None),
        ("link", "**/*.csv"),
        ("link", "link/*.csv"),
        ("link.csv", None),
        ("link.csv", "**/*.csv"),
        ("link.csv", "l*"),
    ],
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


# one file that holds the splits, and rows without names


JSON = '{"a": [["hello", "greet"]], "more": [["hi", "greet"]], "b": [["bye", "leave"]]}'


def test_keys_of_one_json_file_are_splits_and_several_make_one(tmp_path: Path) -> None:
    file = write(tmp_path / "all.json", JSON)
    table, rejects, _ = read(Data(path=str(file), train_file="#a+more", test_file="#b"))
    assert rejects == []
    assert table["source_file"].to_list() == ["all.json#a", "all.json#more", "all.json#b"]
    assert table["source_split"].to_list() == ["train", "train", "test"]
    inside = read(Data(path=str(tmp_path), train_file="all.json#a+more", test_file="all.json#b")).table
    assert inside.equals(table)


def test_a_file_is_in_one_split(tmp_path: Path) -> None:
    for name in ("test.csv", "train.csv"):
        (tmp_path / name).write_text("text,label\nhello,greet\n")
    (tmp_path / "link.csv").symlink_to("test.csv")
    both = "data.train_file and data.test_file both match"
    assert refused(tmp_path, train_file="t*.csv", test_file="test.csv") == (
        f"{both} 'test.csv', so its rows would be in two splits; have one of them leave it out"
    )
    assert refused(tmp_path, train_file="test.csv", test_file="link.csv").startswith(both)
    assert "data.validation_file and data.test_file" in refused(
        tmp_path, train_file="train.csv", validation_file="test.csv", test_file="test.csv"
    )
    rows = tmp_path / "all.json"
    rows.write_text('{"a": [], "b": []}')
    assert refused(rows, train_file="#a+b", test_file="#b").startswith(f"{both} 'all.json#b'")


def test_a_key_that_a_json_file_lacks_is_named(tmp_path: Path) -> None:
    file = write(tmp_path / "all.json", JSON)
    with pytest.raises(InputError, match=r"all\.json#c: the JSON has no field 'c'; it has a, more, b"):
        read(Data(path=str(file), train_file="#a+c", test_file="#b"))


def test_a_glob_cannot_pick_files_in_a_file(tmp_path: Path) -> None:
    file = write(tmp_path / "all.json", JSON)
    with pytest.raises(InputError, match=r"is one file, but data\.files and data"):
        read(Data(path=str(file), train_file="all.json#a", test_file="#b"))


def test_columns_without_names_are_called_as_params_say(tmp_path: Path) -> None:
    write(tmp_path / "a.tsv", "hello, you\tgreet\nbye, now\tleave\n")
    data = Data(path=str(tmp_path / "a.tsv"), column_names=["text", "label"])
    # both delimiters make two columns, as data.header alone cannot tell
    with pytest.raises(InputError, match="fit as delimiters"):
        read(data)
    write(tmp_path / "a.tsv", "well, hello, you\tgreet\nbut, bye, now\tleave\n")
    assert read(data).table.select("text", "label").rows() == [
        ("well, hello, you", "greet"),
        ("but, bye, now", "leave"),
    ]


def test_column_names_that_are_not_as_many_as_columns_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "a.csv", "hello,greet,1\nbye,leave,2\n")
    with pytest.raises(InputError, match=r"the first line has 3 fields and data\.column_names names 2"):
        read(Data(path=str(tmp_path / "a.csv"), column_names=["text", "label"], delimiter=","))


@pytest.mark.parametrize("names", [["text", "text "], ["text", ""]])
def test_column_names_must_differ(names: list[str]) -> None:
    with pytest.raises(ValueError, match="are not names that differ"):
        Data(column_names=names)


def test_json_rows_that_are_lists_are_named_too(tmp_path: Path) -> None:
    file = write(tmp_path / "rows.json", '[["hello", "greet"], ["bye", "leave", "now"]]')
    table, rejects, _ = read(Data(path=str(file)), Wanted(names=["text", "label"]))
    assert table.select("text", "label").rows() == [("hello", "greet")]
    assert [reject.reason for reject in rejects] == [
        "unreadable: 3 values where data.column_names names 2: ['bye', 'leave', 'now']"
    ]


# real data


# real data


@pytest.mark.shared
@pytest.mark.parametrize(("name", "rows"), [("train.csv", 10_003), ("test.csv", 3_080)])
def test_banking77_has_its_published_number_of_rows(name: str, rows: int) -> None:
    table, rejects, _ = read(Data(path=str(SHARED / "banking77" / name)))
    assert (table.height, rejects, table.columns[:2]) == (rows, [], ["text", "category"])
    assert table["category"].n_unique() == 77


@pytest.mark.shared
def test_clinc150_is_addressed_inside_its_json() -> None:
    table, rejects, _ = read(
        Data(
            path=str(SHARED / "clinc150"), train_file="data_full.json#train", test_file="data_full.json#test"
        )
    )
    assert rejects == []
    assert dict(table["source_split"].value_counts().iter_rows()) == {"train": 15_000, "test": 4_500}
    assert table["column_2"].n_unique() == 150


@pytest.mark.shared
def test_clinc150_has_its_out_of_scope_rows_in_every_split() -> None:
    splits = {
        "train_file": "#train+oos_train",
        "validation_file": "#val+oos_val",
        "test_file": "#test+oos_test",
    }
    table, rejects, _ = read(Data(path=str(SHARED / "clinc150/data_full.json"), **splits))
    assert rejects == []
    assert dict(table["source_split"].value_counts().iter_rows()) == {
        "train": 15_100,
        "validation": 3_100,
        "test": 5_500,
    }
    out = table.filter(table["column_2"] == "oos")
    assert dict(out["source_split"].value_counts().iter_rows()) == {
        "train": 100,
        "validation": 100,
        "test": 1_000,
    }
    assert set(out["source_file"]) == {f"data_full.json#oos_{name}" for name in ("train", "val", "test")}


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
