"""Raw files as people have them: line ends, marks, quotes, ragged rows, every format, and what is refused."""

import csv
import json
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet
import pytest

from tasks.errors import InputError
from tasks.params import Data
from tasks.readers import Reject, read
from tests.conftest import SHARED

PAIRS = [("hello", "greet"), ("bye", "leave")]


def write(path: Path, content: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def pairs(table: pl.DataFrame) -> list[tuple[Any, ...]]:
    """Return the rows of the first two columns."""
    return table.select(table.columns[:2]).rows()


def taken(path: Path, **params: Any) -> list[tuple[Any, ...]]:
    """Return the first two columns of a file that has no bad rows."""
    table, rejects = read(Data(path=str(path), **params))
    assert rejects == []
    return pairs(table)


def refused(path: Path, **params: Any) -> str:
    """Return the sentence with which a file is refused."""
    with pytest.raises(InputError) as error:
        read(Data(path=str(path), **params))
    assert "\n" not in str(error.value)
    return str(error.value)


# delimited text


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_every_kind_of_line_end_is_read(tmp_path: Path, end: str) -> None:
    file = write(tmp_path / "a.csv", end.join(["text,label", "hello,greet", "bye,leave", ""]))
    assert taken(file) == PAIRS


def test_a_last_line_without_an_end_is_a_row(tmp_path: Path) -> None:
    assert taken(write(tmp_path / "a.csv", "text,label\nhello,greet\nbye,leave")) == PAIRS


def test_a_byte_order_mark_is_no_part_of_what_comes_first(tmp_path: Path) -> None:
    table, _ = read(Data(path=str(write(tmp_path / "a.csv", "\ufefftext,label\nhello,greet\n"))))
    assert table.columns[:2] == ["text", "label"]
    assert taken(write(tmp_path / "b.csv", "\ufeffhello,greet\n"), header=False) == [("hello", "greet")]
    assert taken(write(tmp_path / "a.json", '\ufeff[["hello", "greet"]]')) == [("hello", "greet")]
    assert taken(write(tmp_path / "a.jsonl", '\ufeff["hello", "greet"]\n')) == [("hello", "greet")]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-8", "cp1252", "latin-1"])
def test_the_named_encoding_is_used(tmp_path: Path, encoding: str) -> None:
    file = write(tmp_path / "a.csv", "text,label\ncafé à Zürich,place\n".encode(encoding))
    assert taken(file, encoding=encoding) == [("café à Zürich", "place")]


def test_newlines_commas_and_quotes_inside_quotes_belong_to_the_field(tmp_path: Path) -> None:
    text = 'first line\r\nsecond, "quoted" line\n'
    file = tmp_path / "a.csv"
    with file.open("w", newline="", encoding="utf-8") as lines:
        csv.writer(lines).writerows([("text", "label"), (text, "greet"), ("bye", "leave")])
    table, rejects = read(Data(path=str(file)))
    assert pairs(table) == [(text, "greet"), ("bye", "leave")]
    assert table["source_row"].to_list() == [1, 2]
    assert rejects == []


def test_blanks_around_column_names_are_dropped_and_values_stay_as_they_are(tmp_path: Path) -> None:
    table, _ = read(Data(path=str(write(tmp_path / "a.csv", " text , label\t\n hello , greet \n"))))
    assert table.columns[:2] == ["text", "label"]
    assert pairs(table) == [(" hello ", " greet ")]


def test_a_ragged_row_is_kept_as_a_reject_with_file_row_and_reason(tmp_path: Path) -> None:
    table, rejects = read(Data(path=str(write(tmp_path / "a.csv", "text,label\nhello,greet\nso,ja,nein\nalone\nbye,leave\n"))))
    assert pairs(table) == PAIRS
    assert table["source_row"].to_list() == [1, 4]
    assert rejects == [
        Reject("a.csv", 2, "unreadable: 3 fields where the first line has 2: so,ja,nein", {}),
        Reject("a.csv", 3, "unreadable: 1 fields where the first line has 2: alone", {}),
    ]


def test_empty_lines_between_and_after_rows_are_no_rows(tmp_path: Path) -> None:
    assert taken(write(tmp_path / "a.csv", "text,label\nhello,greet\n\nbye,leave\n\n\n")) == PAIRS


def test_empty_lines_before_the_header_are_skipped(tmp_path: Path) -> None:
    assert taken(write(tmp_path / "a.csv", "\n\r\ntext,label\nhello,greet\nbye,leave\n")) == PAIRS


def test_a_quote_that_is_never_closed_is_refused_rather_than_swallowing_the_rest(tmp_path: Path) -> None:
    good = "".join(f"text {i},greet\n" for i in range(50))
    sentence = refused(write(tmp_path / "a.csv", f'text,label\n{good}"open,greet\n{good}'))
    assert sentence.startswith("a.csv: line ")


def test_values_look_like_they_did_in_the_file(tmp_path: Path) -> None:
    file = write(tmp_path / "a.csv", "text,label\n007,1.0\nNA,true\nnull,1e5\n")
    assert taken(file) == [("007", "1.0"), ("NA", "true"), ("null", "1e5")]


def test_a_header_that_names_a_column_twice_is_refused(tmp_path: Path) -> None:
    assert "names a column twice: text" in refused(write(tmp_path / "a.csv", "text, text,label\na,b,c\n"))


def test_columns_without_a_name_at_the_end_of_a_spreadsheet_export_do_no_harm(tmp_path: Path) -> None:
    assert taken(write(tmp_path / "a.csv", "text,label,,\nhello,greet,,\nbye,leave,,\n")) == PAIRS


def test_tab_separated_files_quote_nothing(tmp_path: Path) -> None:
    assert taken(write(tmp_path / "a.tsv", 'text\tlabel\n"hi, all\tgreet\n"bye" it is\tleave\n')) == [('"hi, all', "greet"), ('"bye" it is', "leave")]


def test_a_file_without_a_header_gets_numbered_columns(tmp_path: Path) -> None:
    table, _ = read(Data(path=str(write(tmp_path / "a.tsv", "hello\tgreet\nbye\tleave\n")), header=False))
    assert table.columns[:2] == ["column_1", "column_2"]
    assert pairs(table) == PAIRS
    assert table["source_row"].to_list() == [1, 2]


# JSON


def test_a_broken_line_of_jsonl_is_a_reject_and_the_others_are_rows(tmp_path: Path) -> None:
    lines = ['{"text": "hello", "label": "greet"}', '{"text": "oops', "", "17", '{"text": "bye", "label": "leave"}']
    table, rejects = read(Data(path=str(write(tmp_path / "a.jsonl", "\r\n".join(lines)))))
    assert pairs(table) == PAIRS
    assert table["source_row"].to_list() == [1, 5]
    assert [(reject.file, reject.row) for reject in rejects] == [("a.jsonl", 2), ("a.jsonl", 4)]
    assert rejects[0].reason.startswith("unreadable: not JSON")
    assert '{"text": "oops' in rejects[0].reason
    assert rejects[1].reason == "unreadable: a row is an object or a list, this is int: 17"


@pytest.mark.parametrize("ending", ["jsonl", "ndjson"])
def test_line_separators_inside_a_json_string_do_not_end_the_row(tmp_path: Path, ending: str) -> None:
    assert taken(write(tmp_path / f"a.{ending}", '{"text": "a\u2028b\x85c", "label": "x"}\n')) == [("a\u2028b\x85c", "x")]


def test_a_json_list_of_objects_is_a_table_with_nulls_for_missing_keys(tmp_path: Path) -> None:
    rows = [{"text": "hello", "label": "greet"}, {"label": "leave", "text": "bye"}, {" text ": "hm", "more": [1, {"b": 2, "a": 1}]}]
    table, rejects = read(Data(path=str(write(tmp_path / "a.json", json.dumps(rows)))))
    assert pairs(table) == [*PAIRS, ("hm", None)]
    assert table["more"].to_list() == [None, None, '[1, {"a": 1, "b": 2}]']
    assert rejects == []


def test_a_json_list_of_lists_is_a_table_with_numbered_columns(tmp_path: Path) -> None:
    table, _ = read(Data(path=str(write(tmp_path / "a.json", json.dumps([list(pair) for pair in PAIRS])))))
    assert table.columns[:2] == ["column_1", "column_2"]
    assert pairs(table) == PAIRS


def test_numbers_and_truth_values_of_json_become_their_own_spelling(tmp_path: Path) -> None:
    file = write(tmp_path / "a.jsonl", '{"text": "é", "label": 1}\n{"text": "b", "label": true}\n{"text": "c", "label": 2.5}\n')
    assert taken(file) == [("é", "1"), ("b", "true"), ("c", "2.5")]


def test_a_list_inside_a_json_object_is_addressed_by_its_name(tmp_path: Path) -> None:
    write(tmp_path / "data.json", json.dumps({"train": [["hello", "greet"]], "test": [["bye", "leave"]]}))
    table, _ = read(Data(path=str(tmp_path), train_file="data.json#train", test_file="data.json#test"))
    assert pairs(table) == PAIRS
    assert table["source_split"].to_list() == ["train", "test"]
    assert table["source_file"].to_list() == ["data.json#train", "data.json#test"]
    assert taken(tmp_path, files="data.json#test") == [("bye", "leave")]


def test_a_json_object_without_the_named_list_tells_its_keys(tmp_path: Path) -> None:
    write(tmp_path / "data.json", json.dumps({"train": [], "val": []}))
    assert "no field 'dev'; it has train, val" in refused(tmp_path, files="data.json#dev")
    assert "an object with the keys 'train', 'val'" in refused(tmp_path / "data.json")


def test_broken_json_names_the_line(tmp_path: Path) -> None:
    assert "line 3 is not valid JSON" in refused(write(tmp_path / "a.json", '[\n{"text": "a"},\noops\n]'))


@pytest.mark.parametrize("name", ["a.json", "a.jsonl"])
def test_half_a_surrogate_pair_in_json_does_not_end_in_a_traceback(tmp_path: Path, name: str) -> None:
    row = '{"text": "cut emoji \\ud83d", "label": "x"}'
    good = '{"text": "whole", "label": "y"}'
    table, rejects = read(Data(path=str(write(tmp_path / name, f"[{row},{good}]" if name == "a.json" else f"{row}\n{good}\n"))))
    assert table.height + len(rejects) == 2
    assert "whole" in table["text"].to_list()


@pytest.mark.parametrize("name", ["a.json", "a.jsonl"])
def test_json_nested_without_end_does_not_end_in_a_traceback(tmp_path: Path, name: str) -> None:
    assert refused(write(tmp_path / name, "[" * 100_000)).startswith(f"{name}: ")


# columnar formats


def test_parquet_keeps_types_and_cleans_column_names(tmp_path: Path) -> None:
    pl.DataFrame({" text ": ["hello", "bye"], "label": [1, 0]}).write_parquet(tmp_path / "a.parquet")
    table, _ = read(Data(path=str(tmp_path / "a.parquet")))
    assert table.select("text", "label").rows() == [("hello", 1), ("bye", 0)]
    assert table["source_row"].to_list() == [1, 2]


@pytest.mark.parametrize("kind", ["stream", "file", "feather"])
def test_arrow_streams_arrow_files_and_feather_are_read(tmp_path: Path, kind: str) -> None:
    table = pa.table({"text": [text for text, _ in PAIRS], "label": [label for _, label in PAIRS]})
    file = tmp_path / ("a.feather" if kind == "feather" else "a.arrow")
    if kind == "feather":
        pyarrow.feather.write_feather(table, str(file))
    else:
        with (pa.ipc.new_stream if kind == "stream" else pa.ipc.new_file)(str(file), table.schema) as writer:
            writer.write_table(table)
    assert taken(file) == PAIRS


def test_what_datasets_saves_is_read(tmp_path: Path) -> None:
    from datasets import Dataset

    rows = Dataset.from_dict({"text": ["hello", "bye"], "label": ["greet", "leave"]})
    rows.save_to_disk(tmp_path / "saved")
    assert taken(tmp_path / "saved", files="*.arrow") == PAIRS


@pytest.mark.parametrize("name", ["a.parquet", "a.arrow", "a.feather"])
def test_a_file_that_is_not_what_its_ending_says_is_refused(tmp_path: Path, name: str) -> None:
    assert f"{name}: not a valid" in refused(write(tmp_path / name, "text,label\nhello,greet\n"))


def test_a_cut_parquet_file_is_refused(tmp_path: Path) -> None:
    pl.DataFrame({"text": ["hello"] * 100}).write_parquet(tmp_path / "a.parquet")
    whole = (tmp_path / "a.parquet").read_bytes()
    assert "not a valid parquet file" in refused(write(tmp_path / "b.parquet", whole[: len(whole) // 2]))


# folders


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


# what is refused


def test_a_path_that_does_not_exist_says_how_to_give_one(tmp_path: Path) -> None:
    assert "--data.path" in refused(tmp_path / "nowhere.csv")


def test_an_unknown_ending_asks_for_the_format(tmp_path: Path) -> None:
    file = write(tmp_path / "export.txt", "text,label\nhello,greet\nbye,leave\n")
    assert "set data.format" in refused(file)
    assert taken(file, format="csv") == PAIRS


@pytest.mark.parametrize("content", [b"", b"text,label\n", b"\xef\xbb\xbf", b"\n\n"])
def test_a_file_without_rows_is_refused(tmp_path: Path, content: bytes) -> None:
    sentence = refused(write(tmp_path / "a.csv", content))
    assert sentence.startswith("a.csv: ")
    assert sentence.endswith("give a file with data")


def test_binary_junk_is_refused(tmp_path: Path) -> None:
    png = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"
    assert "looks binary (a NUL byte at 8)" in refused(write(tmp_path / "a.csv", png))


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_invalid_utf8_names_the_line_and_the_byte(tmp_path: Path, mark: bytes) -> None:
    sentence = refused(write(tmp_path / "a.csv", mark + b"text,label\nhello,greet\n\xffcaf\xe9,place\n"))
    assert "line 3 is not valid utf-8 (byte 0xff" in sentence
    assert "data.encoding" in sentence


@pytest.mark.parametrize("encoding", ["utf-9", "hex", "rot13"])
def test_an_encoding_that_is_none_is_refused(tmp_path: Path, encoding: str) -> None:
    assert f"'{encoding}' is not" in refused(write(tmp_path / "a.csv", "text,label\nhello,greet\n"), encoding=encoding)


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
