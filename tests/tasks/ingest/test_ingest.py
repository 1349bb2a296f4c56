"""From raw rows to a validated table: names, labels, rejects with reasons, duplicates, content ids."""

import hashlib
from pathlib import Path

import polars as pl
import pytest

from tasks.ingest import content_id, ingest
from tasks.shared.files import digests, read_json
from tasks.shared.params import Data, Ingest
from tasks.shared.paths import Paths
from tests.support.ingest import LENIENT, PROBLEM, Ingested, csv, refused, run
from tests.support.project import ROOT, SHARED

# columns and labels


def test_the_table_holds_id_problem_columns_source_and_all_others(tmp_path: Path) -> None:
    found = run(tmp_path, csv(tmp_path, "when,label,text", "today,greet,hello", "now,leave,bye"))
    assert found.rows.columns == ["id", "text", "label", "source_file", "source_row", "source_split", "when"]
    assert found.pairs == [("hello", "greet"), ("bye", "leave")]
    assert found.rows["source_row"].to_list() == [1, 2]


def test_columns_are_renamed_and_blanks_around_their_names_do_not_matter(tmp_path: Path) -> None:
    source = csv(tmp_path, " message , intent ", "hello, greet ", "bye,leave\t")
    assert run(tmp_path, source, {"text": "message ", "label": " intent"}).pairs == [
        ("hello", "greet"),
        ("bye", "leave"),
    ]


def test_text_and_label_may_trade_names(tmp_path: Path) -> None:
    assert run(
        tmp_path, csv(tmp_path, "text,label", "greet,hello", "leave,bye"), {"text": "label", "label": "text"}
    ).pairs[0] == ("hello", "greet")


def test_a_column_that_has_the_name_of_ours_is_kept_under_another(tmp_path: Path) -> None:
    source = csv(tmp_path, "id,text,message,label", "7,old,hello,greet", "8,older,bye,leave")
    rows = run(tmp_path, source, {"text": "message"}).rows
    assert rows["raw_id"].to_list() == ["7", "8"]
    assert rows["raw_text"].to_list() == ["old", "older"]
    assert rows["text"].to_list() == ["hello", "bye"]
    assert rows["id"].str.len_chars().to_list() == [64, 64]


def test_a_sample_is_taken_of_rows_with_columns_of_any_name(tmp_path: Path) -> None:
    source = csv(
        tmp_path, "text,label,place,reason,row", "hello,greet,a,b,c", "bye,leave,d,e,f", " ,leave,g,h,i"
    )
    found = run(tmp_path, source, max_rows=1, **LENIENT)
    assert found.rows.height == 1
    assert found.rows["place"][0] in "ad"
    assert found.rejected[0]["values"]["reason"] == "h"


def test_the_files_own_names_are_kept_beside_the_table(tmp_path: Path) -> None:
    source = csv(
        tmp_path,
        "id,raw_id,text,message,label,source_file,when",
        "7,a,old,hello,greet,f,1",
        "8,b,older,bye,leave,g,2",
    )
    rows = run(tmp_path, source, {"text": "message"}).rows
    columns = read_json(Paths(tmp_path).ingested / "columns.json")
    assert {name: rows[column][0] for name, column in columns.items()} == {
        "id": "7",
        "raw_id": "a",
        "text": "old",
        "message": "hello",
        "label": "greet",
        "source_file": "f",
        "when": "1",
    }


def test_a_column_called_like_one_of_ours_can_be_the_problems(tmp_path: Path) -> None:
    source = csv(tmp_path, "source_file,id", "hello,greet", "bye,leave")
    found = run(tmp_path, source, {"text": "source_file", "label": "id"})
    assert found.pairs == [("hello", "greet"), ("bye", "leave")]
    assert found.rows["source_file"].to_list() == ["raw.csv", "raw.csv"]


@pytest.mark.parametrize("header", ["id,raw_id", "_row,id", "source_file,source_row"])
def test_no_name_of_a_raw_column_is_lost_or_ends_in_a_traceback(tmp_path: Path, header: str) -> None:
    rows = run(
        tmp_path,
        csv(tmp_path, f"{header},text,label", "u,v,hello,greet", "w,x,bye,leave", "y,z,,leave"),
        **LENIENT,
    ).rows
    kept = {tuple(rows[column].to_list()) for column in rows.columns if rows[column].dtype == pl.String}
    assert {("u", "w"), ("v", "x")} <= kept


def test_two_columns_of_the_problem_cannot_come_from_one(tmp_path: Path) -> None:
    assert "data.columns" in refused(
        tmp_path, csv(tmp_path, "message,label", "hello,greet"), {"text": "message", "label": "message"}
    )


def test_integer_labels_become_their_digits(tmp_path: Path) -> None:
    pl.DataFrame({"text": ["hello", "bye"], "label": [10, 2]}).write_parquet(tmp_path / "raw.parquet")
    assert run(tmp_path, tmp_path / "raw.parquet").pairs == [("hello", "10"), ("bye", "2")]


def test_categorical_labels_become_their_names(tmp_path: Path) -> None:
    frame = pl.DataFrame(
        {"text": ["hello", "bye"], "label": ["greet", "leave"]}, schema_overrides={"label": pl.Categorical}
    )
    frame.write_parquet(tmp_path / "raw.parquet")
    assert run(tmp_path, tmp_path / "raw.parquet").pairs == [("hello", "greet"), ("bye", "leave")]


@pytest.mark.parametrize("column", ["text", "label"])
def test_a_column_of_lists_is_refused_in_a_sentence(tmp_path: Path, column: str) -> None:
    frame = pl.DataFrame({"text": ["hello", "bye"], "label": ["greet", "leave"]}).with_columns(
        pl.concat_list(column)
    )
    frame.write_parquet(tmp_path / "raw.parquet")
    assert f"'{column}'" in refused(tmp_path, tmp_path / "raw.parquet")


def test_a_missing_column_is_refused_with_the_nearest_name_and_the_remedy(tmp_path: Path) -> None:
    sentence = refused(tmp_path, csv(tmp_path, "text,lable", "hello,greet"))
    assert "there is no column 'label'; did you mean 'lable'?" in sentence
    assert "It has text, lable" in sentence
    assert "--data.columns.label NAME" in sentence


def test_a_column_that_the_problem_does_not_have_is_refused(tmp_path: Path) -> None:
    sentence = refused(tmp_path, csv(tmp_path, "text,label", "hello,greet"), {"labels": "label"})
    assert "text-classification has no column 'labels'; did you mean 'label'?" in sentence


# rejects


def test_every_reject_names_file_row_reason_and_values(tmp_path: Path) -> None:
    long = "x" * 21
    source = csv(
        tmp_path,
        "text,label,extra",
        "hello,greet,1",
        "   ,greet,2",
        "fine,,3",
        f"{long},greet,4",
        "a,b",
        "bye,leave,6",
    )
    found = run(tmp_path, source, max_chars=20, **LENIENT)
    assert found.pairs == [("hello", "greet"), ("bye", "leave")]
    assert [(reject["file"], reject["row"], reject["reason"]) for reject in found.rejected] == [
        ("raw.csv", 2, "text: blank"),
        ("raw.csv", 3, "label: blank"),
        ("raw.csv", 4, "text: longer than ingest.max_chars 20"),
        ("raw.csv", 5, "unreadable: line 6: 2 fields where the first line has 3: a,b"),
    ]
    assert found.rejected[1]["values"] == {"text": "fine", "label": "", "extra": "3"}
    assert (found.metrics["read"], found.metrics["rows"], found.metrics["rejected"]) == (6, 2, 4)


def test_missing_values_are_rejected_as_missing(tmp_path: Path) -> None:
    (tmp_path / "raw.jsonl").write_text(
        '{"text": "a", "label": "x"}\n{"text": null, "label": "x"}\n{"text": "b"}\n{"text": "c", "label": "y"}\n'
    )
    found = run(tmp_path, tmp_path / "raw.jsonl", **LENIENT)
    assert [(reject["row"], reject["reason"]) for reject in found.rejected] == [
        (2, "text: missing"),
        (3, "label: missing"),
    ]


def test_the_longest_allowed_text_is_taken(tmp_path: Path) -> None:
    assert run(tmp_path, csv(tmp_path, "text,label", "ééééé,greet"), max_chars=5).rejected == []


def test_white_space_of_any_script_is_blank(tmp_path: Path) -> None:
    source = csv(tmp_path, "text,label", "\u00a0\u3000\t,greet", "hello,\u2003", "bye,leave")
    assert [reject["reason"] for reject in run(tmp_path, source, **LENIENT).rejected] == [
        "text: blank",
        "label: blank",
    ]


def test_too_many_rejects_stop_the_stage_and_name_the_first_of_each_kind(tmp_path: Path) -> None:
    good = [f"text {i},greet" for i in range(17)]
    source = csv(tmp_path, "text,label", *good, "alone", ",greet", ",leave")
    sentence = refused(tmp_path, source, max_rejected=0.1)
    assert sentence.startswith("3 of 20 rows are rejected, more than ingest.max_rejected 10% allows: ")
    assert (
        "1 unreadable (first: raw.csv row 18: line 19: 1 fields where the first line has 2: alone)"
        in sentence
    )
    assert "2 text: blank (first: raw.csv row 19)" in sentence
    assert run(tmp_path, source, max_rejected=0.15).metrics["rejected"] == 3


def test_the_summary_tells_blank_from_too_long(tmp_path: Path) -> None:
    source = csv(
        tmp_path,
        "text,label",
        *[f"text {i},greet" for i in range(10)],
        ",greet",
        f"{'x' * 21},greet",
        ",greet",
        "hello,",
    )
    sentence = refused(tmp_path, source, max_chars=20)
    assert "2 text: blank (first: raw.csv row 11), " in sentence
    assert "1 text: longer than ingest.max_chars 20 (first: raw.csv row 12), " in sentence
    assert "1 label: blank (first: raw.csv row 14)" in sentence


def test_duplicates_never_count_as_too_many_rejects(tmp_path: Path) -> None:
    assert (
        run(tmp_path, csv(tmp_path, "text,label", *["hello,greet"] * 9, "bye,leave"), max_rejected=0).metrics[
            "duplicates"
        ]
        == 8
    )


def test_what_was_found_out_by_itself_stands_in_the_log_and_beside_the_numbers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = run(tmp_path, csv(tmp_path, "text;label", "hello, you;greet", "bye, you;leave"))
    assert found.metrics["notes"] == ["raw.csv: the delimiter is ';'"]
    assert "raw.csv: the delimiter is ';'" in capsys.readouterr().out


# duplicates and ids


def test_the_first_of_rows_that_are_equal_to_the_letter_is_kept(tmp_path: Path) -> None:
    found = run(
        tmp_path,
        csv(
            tmp_path,
            "text,label,when",
            "hello,greet,1",
            "bye,leave,2",
            "hello, greet ,3",
            "hello,leave,4",
            " hello,greet,5",
        ),
    )
    assert found.pairs == [("hello", "greet"), ("bye", "leave"), ("hello", "leave"), (" hello", "greet")]
    assert [(reject["row"], reject["reason"].split(":")[0]) for reject in found.rejected] == [
        (3, "duplicate")
    ]
    assert found.rejected[0]["values"]["when"] == "3"
    assert found.metrics["duplicates"] == 1
    assert found.rows["id"][0] == found.rows["id"][3], "white space makes no other message"


def test_a_test_row_that_repeats_a_train_row_stays_in_a_predefined_test_split(tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    for name in ("train", "test"):
        (tmp_path / f"raw/{name}.csv").write_text(
            f"text,label\nhello,greet\nhello,greet\n{name} only,leave\n", encoding="utf-8"
        )
    data = Data(path=str(tmp_path / "raw"), train_file="train.csv", test_file="test.csv")
    ingest(data, Ingest(), PROBLEM, Paths(tmp_path))
    found = Ingested(tmp_path)
    assert found.rows.select("source_split", "text").rows() == [
        ("train", "hello"),
        ("train", "train only"),
        ("test", "hello"),
        ("test", "test only"),
    ]
    assert found.metrics["duplicates"] == 2


def test_duplicates_can_be_kept(tmp_path: Path) -> None:
    found = run(tmp_path, csv(tmp_path, "text,label", "hello,greet", "hello,greet"), drop_duplicates=False)
    assert found.rows["id"].n_unique() == 1
    assert (found.rows.height, found.rejected, found.metrics["duplicates"]) == (2, [], 1)


def test_a_text_under_two_labels_is_kept_and_counted(tmp_path: Path) -> None:
    found = run(tmp_path, csv(tmp_path, "text,label", "hello,greet", "hello,leave", "bye,leave"))
    assert found.rows.height == 3
    assert found.metrics["conflicting_labels"] == 1
    assert found.metrics["duplicates"] == 0


def test_the_content_id_is_the_sha256_of_the_text_with_white_space_folded(tmp_path: Path) -> None:
    rows = run(tmp_path, csv(tmp_path, "text,label", " hello \u00a0 you ,greet", "bye,leave")).rows
    assert rows["id"][0] == hashlib.sha256(b"hello you").hexdigest() == content_id(b"hello you")
    assert rows["text"][0] == " hello \u00a0 you "


def test_label_counts_and_lengths_are_told(tmp_path: Path) -> None:
    metrics = run(tmp_path, csv(tmp_path, "text,label", "a,y", "bb,x", "ccc,x", "dddd,y", "eeeee,z")).metrics
    assert list(metrics["labels"].items()) == [("x", 2), ("y", 2), ("z", 1)]
    assert metrics["columns"]["text"]["chars"]["p50"] == 3
    assert metrics["columns"]["text"]["chars"]["p100"] == 5


def test_the_same_rows_make_the_same_bytes(tmp_path: Path) -> None:
    source = csv(
        tmp_path, "text,label,extra", *[f"text {i % 7},label {i % 3},{i}" for i in range(30)], "ragged"
    )
    for folder in ("one", "two"):
        run(tmp_path / folder, source, **LENIENT)
    assert digests(tmp_path / "one") == digests(tmp_path / "two")


def test_the_embedded_tickets_lose_only_what_is_told(tmp_path: Path) -> None:
    found = run(tmp_path, ROOT / "data/raw/tickets.csv")
    assert found.metrics["read"] == found.rows.height + len(found.rejected)
    assert {reject["reason"].split(":")[0] for reject in found.rejected} <= {"duplicate", "text"}
    assert len(found.rejected) < 10


def test_of_many_rows_those_with_the_smallest_content_ids_are_taken(tmp_path: Path) -> None:
    lines = [f"text {number},label {number % 3}" for number in range(50)]
    all_rows = run(tmp_path / "all", csv(tmp_path, "text,label", *lines)).rows
    some = run(tmp_path / "some", csv(tmp_path, "text,label", *lines), max_rows=7)
    assert some.rows["id"].sort().to_list() == all_rows["id"].sort().to_list()[:7]
    assert some.rows["source_row"].is_sorted()
    assert some.metrics["warnings"] == [
        "ingest.max_rows: 7 of 50 usable rows are taken, by their content ids"
    ]
    other_order = run(tmp_path / "other", csv(tmp_path, "text,label", *reversed(lines)), max_rows=7)
    assert set(other_order.rows["id"]) == set(some.rows["id"])
    assert (
        "warnings" not in run(tmp_path / "enough", csv(tmp_path, "text,label", *lines), max_rows=50).metrics
    )


@pytest.mark.shared
def test_banking77_is_taken_in_with_its_77_labels(tmp_path: Path) -> None:
    found = run(tmp_path, SHARED / "banking77/train.csv", {"label": "category"})
    assert (found.metrics["read"], found.metrics["rows"]) == (10_003, 10_003 - found.metrics["duplicates"])
    counts = found.metrics["labels"]
    assert len(counts) == 77
    assert counts["card_payment_fee_charged"] == 187
