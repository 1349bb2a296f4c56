"""What follows from the kinds of columns: how values are read, judged, known again, and compared."""

import math
from typing import Any, get_args

import polars as pl
import pytest

from tasks.shared import columns, predictions
from tasks.shared.columns import Column, Kinds, kind
from tasks.shared.params import Ingest
from tasks.shared.values import as_text

TWO = {
    "title": Column("text", "input"),
    "price": Column("number", "input"),
    "tags": Column("categories", "target"),
}


def fault(of: str, *texts: str | None) -> list[str | None]:
    table = pl.DataFrame({"it": pl.Series(texts, dtype=pl.String)})
    return columns.faults(table, {"it": Column(of, "input")}, Ingest(max_chars=5)).to_list()  # type: ignore[arg-type]


def test_what_says_no_value_is_said() -> None:
    assert fault("text", "a", None, " ", "abcdef") == [
        None,
        "it: missing",
        "it: blank",
        "it: longer than ingest.max_chars 5",
    ]
    assert fault("category", "abcdef", None, "\u2003") == [None, "it: missing", "it: blank"]
    assert fault("categories", "a, b", "[]", "", None) == [None, None, None, "it: missing"]
    assert fault("number", " 1.5", "-2e3", "x", "nan", "inf", "", None) == [
        None,
        None,
        "it: no finite number: x",
        "it: no finite number: nan",
        "it: no finite number: inf",
        "it: blank",
        "it: missing",
    ]


def test_a_row_without_its_list_of_labels_is_rejected_or_has_none() -> None:
    tags = {"tags": Column("categories", "target")}
    table = pl.DataFrame({"tags": [None, "a", ""]}, schema_overrides={"tags": pl.String})
    assert columns.faults(table, tags, Ingest()).to_list() == ["tags: missing", None, None]
    assert columns.faults(table, tags, Ingest(missing_labels="none")).to_list() == [None] * 3
    assert columns.parse(table, tags)["tags"].to_list() == [[], ["a"], []]


def test_an_optional_column_counts_where_rows_have_it() -> None:
    pair = {"text": Column("text", "input"), "more": Column("text", "input", optional=True)}
    rows = pl.DataFrame({"text": ["a "], "more": ["b"]})
    assert (columns.inputs(pair), columns.inputs(pair, rows)) == (["text"], ["text", "more"])
    assert columns.served(rows, pair) == [{"text": "a ", "more": "b"}]
    assert columns.served(rows.drop("more"), pair) == ["a "]
    assert columns.content(rows, pair) == [b'["a", "b"]']


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        ("b, a", ["a", "b"]),
        ("a;b|c", ["a", "b", "c"]),
        ('["a, b", "c"]', ["a, b", "c"]),
        ("[1, 2]", ["1", "2"]),
        ("", []),
        ("[]", []),
        (" a ,, a", ["a"]),
        ("null", ["null"]),
        ("3", ["3"]),
        ('["a", null, true, 1.0, NaN]', ["1", "a", "true"]),
    ],
)
def test_several_labels_are_a_list_or_names_with_signs_between(text: str, labels: list[str]) -> None:
    values = kind(Column("categories", "target")).parse(pl.Series([text]))
    assert values.to_list() == [labels]
    assert kind(Column("categories", "target")).parse(as_text(values)).to_list() == [labels], (
        "written and read again"
    )


@pytest.mark.parametrize("text", ['["a", {"id": 3}]', "[[1]]"])
def test_a_list_of_lists_or_objects_is_no_list_of_labels(text: str) -> None:
    assert fault("categories", text) == [f"it: a list of lists or objects, not of labels: {text}"]


# of what is nested without end: None where it is a text like others
NESTED = {
    "text": None,
    "category": None,
    "categories": None,
    "number": "no finite number",
    "answers": "no {text, answer_start}",
    "tokens": "no list of words",
    "tags": "no list of tags",
    "spans": "no list of {start, end, label}",
    "messages": None,
    "image": None,
    "audio": None,
}


@pytest.mark.parametrize("of", get_args(Kinds))
def test_what_is_nested_without_end_is_a_value_or_a_reason_whatever_the_kind(of: Any) -> None:
    text, reason = "[" * 100_000, NESTED[of]
    table, column = pl.DataFrame({"it": [text]}), Column(of, "input")
    (said,) = columns.faults(table, {"it": column}, Ingest(max_chars=len(text))).to_list()
    if reason is None:
        assert said is None
        assert kind(column).parse(table["it"]).to_list() == [[text] if of == "categories" else text]
    else:
        assert said.startswith(f"it: {reason}: [[[")
        assert len(said) < 200


def test_rows_are_known_by_all_their_inputs_and_by_nothing_else() -> None:
    rows = pl.DataFrame(
        {"title": ["a  b", "a b", "a b"], "price": [1.0, 1.0, 2.0], "tags": [["x"], ["y"], ["x"]]}
    )
    first, second, third = columns.content(rows, TWO)
    assert first == second != third
    assert columns.shown(rows, TWO)[2] == "title: a b; price: 2"
    assert columns.served(rows, TWO)[2] == {"title": "a b", "price": 2.0}
    assert columns.said(rows, TWO).to_list() == ['["x"]', '["y"]', '["x"]']


@pytest.mark.parametrize(
    ("of", "predicted", "actual", "distance"),
    [
        ("category", "a", "b", 1),
        ("category", "a", "a", 0),
        ("number", 1.5, -1.0, 2.5),
        ("categories", ["a", "b"], ["b", "c"], 2),
        ("categories", [], [], 0),
    ],
)
def test_predictions_are_as_wrong_as_their_kind_says(
    of: Any, predicted: Any, actual: Any, distance: float
) -> None:
    column = Column(of, "target")
    both = [pl.Series([value], dtype=kind(column).dtype) for value in (predicted, actual)]
    assert kind(column).distance(*both).to_list() == [distance]


def test_numbers_are_split_by_tenths_and_texts_not_at_all() -> None:
    numbers = pl.DataFrame({"it": [float(number) for number in range(50)]})
    strata = columns.strata(numbers, {"it": Column("number", "target")})
    assert strata.value_counts()["count"].to_list() == [5] * 10
    assert columns.strata(numbers, {}).unique().to_list() == [""]
    assert columns.labels(numbers, {"it": Column("number", "target")}) == {}


def test_the_worst_mistakes_come_first_and_of_equal_ones_the_surest() -> None:
    rows = pl.DataFrame({"id": ["1", "2", "3"], "text": ["x", "y", "z"], "it": [1.0, 2.0, 3.0]})
    named = {"text": Column("text", "input"), "it": Column("number", "target")}
    predicted = pl.DataFrame({"predicted": [1.0, 2.5, 0.0]})
    assert predictions.mistakes(predicted, rows, named, 5)["id"].to_list() == ["3", "2"]
    labelled = rows.with_columns(it=pl.Series(["a", "a", "a"]))
    said = pl.DataFrame({"predicted": ["b", "a", "b"], "confidence": [0.4, 0.9, 0.6]})
    found = predictions.mistakes(said, labelled, {**named, "it": Column("category", "target")}, 1)
    assert found.rows() == [(0.6, "a", "b", "z", "3")]


def test_predictions_of_lists_have_their_type_also_where_all_are_empty(tmp_path: Any) -> None:
    table = predictions.table([{"predicted": []}, {"predicted": []}], TWO)
    assert table["predicted"].dtype == pl.List(pl.String)
    rows = pl.DataFrame({"id": ["1", "2"], "tags": [["x"], []]})
    predictions.write(table, rows, TWO, tmp_path / "predictions.csv")
    read = predictions.read(tmp_path / "predictions.csv", TWO)
    assert read["predicted"].to_list() == [[], []]
    assert read["actual"].to_list() == ['["x"]', "[]"]


def test_what_is_worth_watching_is_a_number_that_json_can_hold() -> None:
    values = {
        "text": ["a", "bcd"],
        "category": ["a", "b"],
        "categories": [["a"], []],
        "number": [0.5, math.pi],
    }
    for of, some in values.items():
        column = Column(of, "target")  # type: ignore[arg-type]
        described = kind(column).describe(pl.Series(some, dtype=kind(column).dtype))
        assert all(isinstance(number, int | float | dict) for number in described.values())
