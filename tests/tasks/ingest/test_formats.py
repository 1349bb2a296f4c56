"""Raw files as people have them: line ends, marks, quotes, ragged rows, every format, and what is refused."""

import csv
import json
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet
import pytest

from tasks.ingest.readers import read
from tasks.ingest.rows import Reject
from tasks.shared.params import Data
from tests.support.raw_files import PAIRS, pairs, refused, taken, write

# delimited text

SAME = {  # as "text,label\nhello,greet\nbye,leave\n"
    "lines end with CR LF": "text,label\r\nhello,greet\r\nbye,leave\r\n",
    "lines end with CR": "text,label\rhello,greet\rbye,leave\r",
    "the last line has no end": "text,label\nhello,greet\nbye,leave",
    "empty lines stand between and after rows": "text,label\nhello,greet\n\nbye,leave\n\n\n",
    "empty lines stand before the header": "\n\r\ntext,label\nhello,greet\nbye,leave\n",
    "a spreadsheet has added columns without a name": "text,label,,\nhello,greet,,\nbye,leave,,\n",
}


@pytest.mark.parametrize("case", SAME)
def test_rows_are_the_same_when(tmp_path: Path, case: str) -> None:
    assert taken(write(tmp_path / "a.csv", SAME[case])) == PAIRS


def test_a_byte_order_mark_is_no_part_of_what_comes_first(tmp_path: Path) -> None:
    table, _, _ = read(Data(path=str(write(tmp_path / "a.csv", "\ufefftext,label\nhello,greet\n"))))
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
    table, rejects, _ = read(Data(path=str(file)))
    assert pairs(table) == [(text, "greet"), ("bye", "leave")]
    assert table["source_row"].to_list() == [1, 2]
    assert rejects == []


def test_blanks_around_column_names_are_dropped_and_values_stay_as_they_are(tmp_path: Path) -> None:
    table, _, _ = read(Data(path=str(write(tmp_path / "a.csv", " text , label\t\n hello , greet \n"))))
    assert table.columns[:2] == ["text", "label"]
    assert pairs(table) == [(" hello ", " greet ")]


def test_a_ragged_row_is_kept_as_a_reject_with_file_row_and_reason(tmp_path: Path) -> None:
    table, rejects, _ = read(
        Data(path=str(write(tmp_path / "a.csv", "text,label\nhello,greet\nso,ja,nein\nalone\nbye,leave\n")))
    )
    assert pairs(table) == PAIRS
    assert table["source_row"].to_list() == [1, 4]
    assert rejects == [
        Reject("a.csv", 2, "unreadable: line 3: 3 fields where the first line has 2: so,ja,nein", {}),
        Reject("a.csv", 3, "unreadable: line 4: 1 fields where the first line has 2: alone", {}),
    ]


@pytest.mark.parametrize(
    ("name", "content"),
    [("a.tsv", "hello\tgreet\nbye\tleave\n"), ("a.json", '[["hello", "greet"], ["bye", "leave"]]')],
)
def test_rows_without_names_get_numbered_columns(tmp_path: Path, name: str, content: str) -> None:
    table, _, _ = read(Data(path=str(write(tmp_path / name, content)), header=False))
    assert table.columns[:2] == ["column_1", "column_2"]
    assert pairs(table) == PAIRS
    assert table["source_row"].to_list() == [1, 2]


@pytest.mark.parametrize(
    ("name", "content", "rows"),
    [
        (
            "a.csv",
            "text,label\n007,1.0\nNA,true\nnull,1e5\n",
            [("007", "1.0"), ("NA", "true"), ("null", "1e5")],
        ),
        # TSV quotes nothing
        (
            "a.tsv",
            'text\tlabel\n"hi, all\tgreet\n"bye" it is\tleave\n',
            [('"hi, all', "greet"), ('"bye" it is', "leave")],
        ),
        ("a.jsonl", '["é", 1]\n["b", true]\n["c", 2.5]\n', [("é", "1"), ("b", "true"), ("c", "2.5")]),
    ],
)
def test_values_look_like_they_did_in_the_file(
    tmp_path: Path, name: str, content: str, rows: list[tuple[str, str]]
) -> None:
    assert taken(write(tmp_path / name, content)) == rows


# what is not what it should be

REFUSED = {
    "no bytes in it": ("a.csv", "", "the file is empty; give a file with data"),
    "a byte order mark alone": ("a.csv", "\ufeff", "no rows in it; give a file with data"),
    "empty lines alone": ("a.csv", "\n\n", "no rows in it; give a file with data"),
    "a header alone": ("a.csv", "text,label\n", "no rows in it; give a file with data"),
    "a header that names a column twice": (
        "a.csv",
        "text, text,label\na,b,c\n",
        "names a column twice: text",
    ),
    "a quote that is never closed": (
        "a.csv",
        'text,label\n"hello",greet\n"open,greet\nbye,leave\n',
        "line 3: a quote is opened",
    ),
    "binary junk": ("a.csv", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "looks binary (a NUL byte at 8)"),
    "broken JSON": ("a.json", '[\n{"text": "a"},\noops\n]', "line 3 is not valid JSON"),
    "JSON nested without end": ("a.json", "[" * 100_000, "nested too deep"),
    "a line of JSON nested without end": (
        "a.jsonl",
        "[" * 100_000,
        "no rows in it (1 unreadable: not JSON (nested too deep)",
    ),
    "Parquet that is none": ("a.parquet", "text,label\n", "not a valid parquet file"),
    "Arrow that is none": ("a.arrow", "text,label\n", "not a valid arrow file"),
    "Feather that is none": ("a.feather", "text,label\n", "not a valid arrow file"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_file_is_refused_for(tmp_path: Path, case: str) -> None:
    name, content, why = REFUSED[case]
    sentence = refused(write(tmp_path / name, content))
    assert sentence.startswith(f"{name}: ")
    assert why in sentence


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_invalid_utf8_names_the_line_and_the_byte(tmp_path: Path, mark: bytes) -> None:
    sentence = refused(write(tmp_path / "a.csv", mark + b"text,label\nhello,greet\n\xffcaf\xe9,place\n"))
    assert "line 3 is not valid utf-8 (byte 0xff" in sentence
    assert "data.encoding" in sentence


@pytest.mark.parametrize("encoding", ["utf-9", "hex", "rot13", "undefined", "punycode"])
def test_an_encoding_that_is_none_is_refused(tmp_path: Path, encoding: str) -> None:
    assert f"'{encoding}' is not" in refused(
        write(tmp_path / "a.csv", "text,label\nhello,greet\n"), encoding=encoding
    )


# JSON


def test_a_broken_line_of_jsonl_is_a_reject_and_the_others_are_rows(tmp_path: Path) -> None:
    lines = [
        '{"text": "hello", "label": "greet"}',
        '{"text": "oops',
        "",
        "17",
        '{"text": "bye", "label": "leave"}',
    ]
    table, rejects, _ = read(Data(path=str(write(tmp_path / "a.jsonl", "\r\n".join(lines)))))
    assert pairs(table) == PAIRS
    assert table["source_row"].to_list() == [1, 5]
    assert [(reject.file, reject.row) for reject in rejects] == [("a.jsonl", 2), ("a.jsonl", 4)]
    assert rejects[0].reason.startswith("unreadable: not JSON")
    assert '{"text": "oops' in rejects[0].reason
    assert rejects[1].reason == "unreadable: a row is an object or a list, this is int: 17"


@pytest.mark.parametrize("ending", ["jsonl", "ndjson"])
def test_line_separators_inside_a_json_string_do_not_end_the_row(tmp_path: Path, ending: str) -> None:
    assert taken(write(tmp_path / f"a.{ending}", '{"text": "a\u2028b\x85c", "label": "x"}\n')) == [
        ("a\u2028b\x85c", "x")
    ]


def test_a_json_list_of_objects_is_a_table_with_nulls_for_missing_keys(tmp_path: Path) -> None:
    rows = [
        {"text": "hello", "label": "greet"},
        {"label": "leave", "text": "bye"},
        {" text ": "hm", "more": [1, {"b": 2, "a": 1}]},
    ]
    table, rejects, _ = read(Data(path=str(write(tmp_path / "a.json", json.dumps(rows)))))
    assert pairs(table) == [*PAIRS, ("hm", None)]
    assert table["more"].to_list() == [None, None, '[1, {"a": 1, "b": 2}]']
    assert rejects == []


def test_a_list_inside_a_json_object_is_addressed_by_its_name(tmp_path: Path) -> None:
    write(tmp_path / "data.json", json.dumps({"train": [["hello", "greet"]], "test": [["bye", "leave"]]}))
    table, _, _ = read(Data(path=str(tmp_path), train_file="data.json#train", test_file="data.json#test"))
    assert pairs(table) == PAIRS
    assert table["source_split"].to_list() == ["train", "test"]
    assert table["source_file"].to_list() == ["data.json#train", "data.json#test"]
    assert taken(tmp_path, files="data.json#test") == [("bye", "leave")]


def test_a_json_object_without_the_named_list_tells_its_keys(tmp_path: Path) -> None:
    write(tmp_path / "data.json", json.dumps({"train": [], "val": []}))
    assert "no field 'dev'; it has train, val" in refused(tmp_path, files="data.json#dev")
    assert "an object with the keys 'train', 'val'" in refused(tmp_path / "data.json")


@pytest.mark.parametrize("name", ["a.json", "a.jsonl"])
def test_half_a_surrogate_pair_in_json_does_not_end_in_a_traceback(tmp_path: Path, name: str) -> None:
    row = '{"text": "cut emoji \\ud83d", "label": "x"}'
    good = '{"text": "whole", "label": "y"}'
    table, rejects, _ = read(
        Data(path=str(write(tmp_path / name, f"[{row},{good}]" if name == "a.json" else f"{row}\n{good}\n")))
    )
    assert table.height + len(rejects) == 2
    assert "whole" in table["text"].to_list()


# columnar formats


def test_parquet_keeps_types_and_cleans_column_names(tmp_path: Path) -> None:
    pl.DataFrame({" text ": ["hello", "bye"], "label": [1, 0]}).write_parquet(tmp_path / "a.parquet")
    table, _, _ = read(Data(path=str(tmp_path / "a.parquet")))
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


def test_a_cut_parquet_file_is_refused(tmp_path: Path) -> None:
    pl.DataFrame({"text": ["hello"] * 100}).write_parquet(tmp_path / "a.parquet")
    whole = (tmp_path / "a.parquet").read_bytes()
    assert "not a valid parquet file" in refused(write(tmp_path / "b.parquet", whole[: len(whole) // 2]))
