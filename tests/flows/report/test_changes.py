"""What happened to the rows of a table: counted exactly, also where a row stands there several times."""

from pathlib import Path

import polars as pl
import pytest

from flows.report.changes import EXAMPLES, Changes, Example, changes

TEN = [(f"id{i}", "ab"[i % 2]) for i in range(10)]


def table(file: Path, rows: list[tuple[str, str]]) -> Path:
    frame = pl.DataFrame(rows, {"id": pl.String, "label": pl.String}, orient="row").with_columns(
        text=pl.lit("text of ") + pl.col("id")
    )
    frame.write_parquet(file)
    return file


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        (TEN, Changes()),
        (TEN[::-1], Changes()),
        ([*TEN, ("new", "a")], Changes(added=1)),
        (TEN[2:], Changes(removed=2)),
        ([("id0", "b"), *TEN[1:]], Changes(relabelled=1)),
        ([("id0", "b"), *TEN[2:], ("new", "a"), ("newer", "c")], Changes(added=2, removed=1, relabelled=1)),
        # duplicates that are kept
        ([*TEN, TEN[0], TEN[0]], Changes(added=2)),
        # the same content under a second label
        ([*TEN, ("id0", "b")], Changes(added=1)),
        ([("id0", "b"), ("id0", "b"), *TEN[1:]], Changes(added=1, relabelled=1)),
        ([], Changes(removed=10)),
    ],
)
def test_rows_are_added_removed_or_relabelled(
    tmp_path: Path, now: list[tuple[str, str]], expected: Changes
) -> None:
    before, after = table(tmp_path / "before", TEN), table(tmp_path / "now", now)
    assert changes(before, after, ["label"]) == expected
    back = changes(after, before, ["label"])
    assert (back.added, back.removed, back.relabelled) == (
        expected.removed,
        expected.added,
        expected.relabelled,
    )


def test_of_rows_that_stand_there_several_times_each_is_counted_once(tmp_path: Path) -> None:
    before = table(tmp_path / "before", [("x", "a")] * 3 + [("x", "b")] * 2)
    now = table(tmp_path / "now", [("x", "a")] + [("x", "b")] * 3 + [("x", "c")] * 3)
    # a: two fewer, b: one more, c: three more
    found = changes(before, now, ["label"])
    assert found == Changes(added=2, relabelled=2)
    assert found.added - found.removed == 7 - 5


def test_a_few_of_each_kind_are_shown_as_a_person_would_recognise_them(tmp_path: Path) -> None:
    before = table(tmp_path / "before", TEN)
    now = table(tmp_path / "now", [("id0", "b"), *TEN[2:], *[(f"new{i}", "c") for i in range(5)]])
    found = changes(before, now, ["label"], show=lambda frame: frame["text"].str.to_uppercase().to_list())
    assert found.examples == (
        *(Example("added", "c", f"TEXT OF NEW{i}") for i in range(EXAMPLES)),
        Example("removed", "b", "TEXT OF ID1"),
        Example("relabelled", "a → b", "TEXT OF ID0"),
    )


@pytest.mark.parametrize(
    ("column", "before", "now", "shown"),
    [
        ("topics", ["a", "b"], ["a"], '{"topics":["a","b"]} → {"topics":["a"]}'),
        ("topics", ["a, b"], ["a", "b"], '{"topics":["a, b"]} → {"topics":["a","b"]}'),
        ("score", 1.5, 2.0, '{"score":1.5} → {"score":2.0}'),
        ("spans", [{"start": 0, "end": 2}], [], '{"spans":[{"start":0,"end":2}]} → {"spans":[]}'),
    ],
)
def test_a_target_may_be_of_any_kind(
    tmp_path: Path, column: str, before: object, now: object, shown: str
) -> None:
    for name, target in (("before", before), ("now", now)):
        pl.DataFrame({"id": ["x", "y"], column: [target, before]}, strict=False).write_parquet(
            tmp_path / name
        )
    assert changes(tmp_path / "before", tmp_path / "before", [column]) == Changes()
    found = changes(tmp_path / "before", tmp_path / "now", [column], show=lambda frame: frame["id"].to_list())
    assert found == Changes(relabelled=1, examples=(Example("relabelled", shown, "x"),))


def test_of_several_targets_each_is_named_and_compared(tmp_path: Path) -> None:
    for name, end in (("before", 2), ("now", 3)):
        pl.DataFrame({"id": ["x"], "start": [1], "end": [end]}).write_parquet(tmp_path / name)
    found = changes(
        tmp_path / "before", tmp_path / "now", ["start", "end"], show=lambda frame: frame["id"].to_list()
    )
    assert found.examples == (Example("relabelled", '{"start":1,"end":2} → {"start":1,"end":3}', "x"),)
