"""Rows that no split can be made of: refused by name, with the remedy; and what is only warned of."""

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tasks.shared.files import read_json
from tests.support.split import many, refused, run, table

# the side of each of twenty rows
SAID = ["train"] * 12 + ["validation"] * 4 + ["test"] * 4
TEXTS = [f"text {i}" for i in range(21)]
CASES: dict[str, tuple[pl.DataFrame, dict[str, Any], list[str]]] = {
    "a label with too few rows": (
        table(TEXTS, ["common"] * 10 + ["other"] * 10 + ["rare"]),
        {},
        ["1 of 3 labels have fewer rows than split.min_rows_per_label 2: 'rare' (1); "],
    ),
    "a label with too few rows to stratify": (
        table(TEXTS, ["common"] * 10 + ["other"] * 10 + ["rare"]),
        {"method": "stratified"},
        ["1 of 3 labels have fewer rows than split.min_rows_per_label 2: 'rare' (1); "],
    ),
    "one label alone": (many(20, labels=1), {}, ["needs at least two"]),
    "a label that train lacks": (
        table(TEXTS[:20], ["a", "b"] * 8 + ["a", "b", "new", "new"], source_split=SAID),
        {"method": "predefined"},
        ["label 'new' stands in the test split (2 rows) but not in train"],
    ),
    "no share for test": (many(20), {"test_share": 0.0}, ["the test split is empty", "share"]),
    "no share for validation": (
        many(20),
        {"validation_share": 0.0},
        ["the validation split is empty", "share"],
    ),
    "no share for train": (
        many(20),
        {"validation_share": 0.5, "test_share": 0.4999999},
        ["the train split is empty", "share"],
    ),
    "rows without a time": (
        many(20, when=[None, *["2026-01-01"] * 19]),
        {"method": "by_time", "time_column": "when"},
        ["1 rows have no 'when'"],
    ),
    "no such column of times": (
        many(20),
        {"method": "by_time", "time_column": "who"},
        ["there is no column 'who'", "source_file"],
    ),
    "no such column of groups": (
        many(20),
        {"method": "by_group", "group_column": "who"},
        ["there is no column 'who'", "source_file"],
    ),
    "a split nobody knows": (
        many(20, side=["train", "holdout"] * 10),
        {"method": "predefined", "split_column": "side"},
        ["'holdout' is not a split (10 such rows)"],
    ),
    "a split of a DatasetDict that nobody knows": (
        many(20, source_split=["train", "unsupervised"] * 10),
        {"method": "predefined"},
        ["'unsupervised' is not a split (10 such rows)", "data.train_file"],
    ),
    "nothing that predefines": (
        many(20),
        {"method": "predefined"},
        ["data.train_file", "split.split_column"],
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_what_cannot_be_split_is_refused_in_a_sentence(tmp_path: Path, case: str) -> None:
    rows, params, parts = CASES[case]
    sentence = refused(tmp_path, rows, **params)
    assert all(part in sentence for part in parts), sentence


@pytest.mark.parametrize("wrong", ["yesterday", "2026-13-45", "01.02.2026", "2026/01/02", "2026-01-02T25:00"])
def test_what_is_not_a_date_is_named(tmp_path: Path, wrong: str) -> None:
    for when in ([wrong, "2026-01-02"] * 10, [None, wrong] * 10, [wrong] * 20):
        sentence = refused(tmp_path, many(20, when=when), method="by_time", time_column="when")
        assert f"'{wrong}' in column 'when' is not a date" in sentence


def test_a_label_that_is_never_tested_is_a_warning(tmp_path: Path) -> None:
    run(tmp_path, table(TEXTS[:20], ["a", "b"] * 8 + ["a"] * 4, source_split=SAID), method="predefined")
    assert read_json(tmp_path / "metrics/split.json")["warnings"] == ["no test row has the label b"]
