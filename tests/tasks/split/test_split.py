"""Every row's side: the shares, what never straddles, what stays put as data grows."""

import random
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tasks.ingest import content_id
from tasks.shared.errors import InputError
from tasks.shared.files import digests, read_json
from tasks.shared.params import Split
from tasks.shared.params.split import SPLITS
from tasks.split import METHODS, SYNONYMS, uniform, with_groups
from tests.support.split import many, parts_of, run, table

SEEDS = range(20)


def repeated(seed: int) -> pl.DataFrame:
    """Return rows whose texts repeat under other labels, dates and groups."""
    draw = random.Random(seed)  # noqa: S311 (no secret)
    texts = [f"text {draw.randrange(60)}" for _ in range(200)]
    return table(
        texts,
        [f"label {draw.randrange(3)}" for _ in texts],
        when=[f"2026-01-{draw.randrange(1, 29):02d}" for _ in texts],
        who=[f"person {draw.randrange(20)}" for _ in texts],
    )


def told(rows: pl.DataFrame, wanted: Split) -> pl.Series:
    """Return the side of every row."""
    rows = with_groups(rows, wanted) if wanted.method == "by_group" else rows
    return METHODS[wanted.method](rows.with_columns(stratum="label"), wanted)


def sides(rows: pl.DataFrame, **params: Any) -> dict[str, str]:
    """Return the side of every id."""
    return dict(zip(rows["id"], told(rows, Split(**params)), strict=True))


# every method


@pytest.mark.parametrize(
    "params",
    [
        {"method": "stable"},
        {"method": "stratified"},
        {"method": "by_time", "time_column": "when"},
        {"method": "by_group", "group_column": "who"},
    ],
)
def test_equal_content_never_straddles(params: dict[str, str]) -> None:
    for seed in SEEDS:
        rows = repeated(seed)
        found = rows.with_columns(side=told(rows, Split(**params, seed=seed)))
        assert found.group_by("id").agg(pl.col("side").n_unique())["side"].max() == 1
        assert found["side"].n_unique() > 1


@pytest.mark.parametrize("method", ["stable", "stratified"])
def test_the_parts_are_all_rows_in_their_order_with_their_columns(tmp_path: Path, method: str) -> None:
    rows = many(100, extra=list(range(100)))
    parts = run(tmp_path, rows, method=method)
    assert all(part.columns == rows.columns and part["extra"].is_sorted() for part in parts.values())
    assert sorted(number for part in parts.values() for number in part["extra"]) == list(range(100))
    metrics = read_json(tmp_path / "metrics/split.json")
    assert {name: metrics[name] for name in SPLITS} == {name: part.height for name, part in parts.items()}
    assert metrics["in_train_and_test"] == 0
    assert {name: sum(metrics["labels"]["label"][name].values()) for name in SPLITS} == {
        name: part.height for name, part in parts.items()
    }


def test_the_same_rows_make_the_same_bytes(tmp_path: Path) -> None:
    for folder in ("one", "two"):
        run(tmp_path / folder, repeated(0))
    assert digests(tmp_path / "one") == digests(tmp_path / "two")


# by_position


def test_the_first_rows_are_train_and_the_last_are_test(tmp_path: Path) -> None:
    rows = many(100, extra=list(range(100)))
    parts = run(tmp_path, rows, method="by_position", validation_share=0.05, test_share=0.1)
    assert parts["train"]["extra"].to_list() == list(range(85))
    assert parts["validation"]["extra"].to_list() == list(range(85, 90))
    assert parts["test"]["extra"].to_list() == list(range(90, 100))


# stable


def test_a_row_keeps_its_side_when_data_grows() -> None:
    for seed in SEEDS:
        before = sides(many(100), seed=seed)
        grown = pl.concat([many(80, prefix="newer"), many(100).sample(fraction=0.9, shuffle=True, seed=seed)])
        after = sides(grown, seed=seed)
        assert all(before[key] == side for key, side in after.items() if key in before)


def test_a_row_that_was_in_train_or_validation_is_never_in_a_smaller_test() -> None:
    for seed in SEEDS:
        large, small = (sides(many(200), seed=seed, test_share=share) for share in (0.3, 0.1))
        assert {key for key, side in small.items() if side == "test"} < {
            key for key, side in large.items() if side == "test"
        }


def test_another_seed_draws_another_split() -> None:
    assert sides(many(100), seed=1) != sides(many(100), seed=2)


def test_the_shares_are_met() -> None:
    found = list(sides(many(5000), validation_share=0.1, test_share=0.2).values())
    assert found.count("test") == pytest.approx(1000, abs=100)
    assert found.count("validation") == pytest.approx(500, abs=75)


def test_the_draw_of_a_key_is_what_it_was_in_earlier_versions() -> None:
    assert [round(uniform(key, 0), 12) for key in ("a", "b")] == [0.617000936233, 0.875512301341]
    draws = [uniform(str(i), 7) for i in range(1000)]
    assert min(draws) >= 0
    assert max(draws) < 1
    assert sum(draws) / 1000 == pytest.approx(0.5, abs=0.03)


# stratified


def test_every_label_gets_its_share_when_stratified(tmp_path: Path) -> None:
    sizes = {"a": 10, "b": 50, "c": 100}
    labels = [label for label, size in sizes.items() for _ in range(size)]
    for seed in SEEDS[:3]:
        parts = run(
            tmp_path,
            table([f"text {i}" for i in range(160)], labels),
            method="stratified",
            seed=seed,
            validation_share=0.1,
            test_share=0.2,
        )
        counts = {name: dict(part["label"].value_counts().iter_rows()) for name, part in parts.items()}
        assert counts == {
            name: {label: size * tenths // 10 for label, size in sizes.items()}
            for name, tenths in zip(SPLITS, (7, 1, 2), strict=True)
        }


def test_a_label_with_one_row_goes_to_train_when_it_is_allowed(tmp_path: Path) -> None:
    rows = table([f"text {i}" for i in range(21)], ["common"] * 10 + ["other"] * 10 + ["rare"])
    for seed in SEEDS[:5]:
        parts = run(tmp_path, rows, method="stratified", min_rows_per_label=1, seed=seed)
        assert "rare" in parts["train"]["label"].to_list()
    assert any(
        "no test row has the label rare" in warning
        for warning in read_json(tmp_path / "metrics/split.json")["warnings"]
    )


# by time


@pytest.mark.parametrize(
    "form",
    ["2026-01-{:02d}", "2026-01-{:02d}T12:00:00Z", "2026-01-{:02d} 12:00:00", "2026-01-{:02d}T12:00:00.250Z"],
)
def test_the_oldest_rows_train_and_the_newest_test(tmp_path: Path, form: str) -> None:
    days = random.Random(0).sample(range(1, 31), 30)  # noqa: S311 (no secret)
    parts = run(
        tmp_path, many(30, when=[form.format(day) for day in days]), method="by_time", time_column="when"
    )
    assert [part.height for part in parts.values()] == [21, 3, 6]
    assert parts["train"]["when"].max() < parts["validation"]["when"].min()
    assert parts["validation"]["when"].max() < parts["test"]["when"].min()


def test_offsets_from_utc_are_heeded(tmp_path: Path) -> None:
    times = [f"2026-01-01T{hour:02d}:30:00Z" for hour in range(10, 19)] + ["2026-01-01T19:00:00+12:00"]
    parts = run(tmp_path, many(10, when=times), method="by_time", time_column="when", test_share=0.1)
    assert parts["train"]["when"].to_list()[-1] == times[-1]


def test_a_repeated_text_takes_the_time_it_was_first_seen() -> None:
    rows = table(
        [*(f"text {i}" for i in range(9)), "text 0"],
        ["a", "b"] * 5,
        when=[f"2026-01-{day:02d}" for day in range(1, 11)],
    )
    found = told(rows, Split(method="by_time", time_column="when"))
    assert found[0] == found[9] == "train"


# by group


def test_a_group_stands_on_one_side() -> None:
    for seed in SEEDS:
        rows = many(200, who=[f"person {i % 25}" for i in range(200)])
        found = rows.with_columns(side=told(rows, Split(method="by_group", group_column="who", seed=seed)))
        assert found.group_by("who").agg(pl.col("side").n_unique())["side"].max() == 1


def test_blanks_around_a_group_make_no_other_group() -> None:
    rows = many(200, who=[f"person {i % 25}{' ' * (i % 2)}" for i in range(200)])
    found = rows.with_columns(side=told(rows, Split(method="by_group", group_column="who")))
    by_name = found.group_by(pl.col("who").str.strip_chars()).agg(pl.col("side").n_unique())
    assert by_name["side"].max() == 1


def test_groups_that_a_shared_text_divides_are_counted(tmp_path: Path) -> None:
    who = [f"person {i % 20}" for i in range(200)]
    rows = table([*(f"text {i}" for i in range(180)), *["thank you"] * 20], ["a", "b"] * 100, who=who)
    shares = {"validation_share": 0.3, "test_share": 0.3}
    parts = run(tmp_path, rows, method="by_group", group_column="who", **shares)
    (side,) = [name for name, part in parts.items() if "thank you" in part["text"].to_list()]
    elsewhere = {person for name, part in parts.items() if name != side for person in part["who"]}
    (warning,) = read_json(tmp_path / "metrics/split.json")["warnings"]
    assert warning.startswith(f"{len(elsewhere)} of 20 groups stand on more than one side: equal rows stay")


def test_a_group_keeps_its_side_when_it_grows() -> None:
    rows = many(200, who=[i % 25 for i in range(200)])
    before = sides(rows[:100], method="by_group", group_column="who")
    after = sides(rows, method="by_group", group_column="who")
    assert all(after[key] == side for key, side in before.items())


def test_rows_without_a_group_stand_alone_and_are_counted(tmp_path: Path) -> None:
    for missing in (None, "", " "):
        rows = many(200, who=[f"person {i % 5}" if i < 20 else missing for i in range(200)])
        run(tmp_path, rows, method="by_group", group_column="who")
        alone = {
            name: part.filter(pl.col("source_row") > 20).height for name, part in parts_of(tmp_path).items()
        }
        assert all(alone.values()), "they do not go to one side together"
        (warning,) = read_json(tmp_path / "metrics/split.json")["warnings"]
        assert warning.startswith("180 of 200 rows have no split.group_column")


def test_a_group_of_numbers_is_the_same_group_when_a_missing_one_made_them_floats() -> None:
    whole = sides(many(100, who=[i % 25 for i in range(100)]), method="by_group", group_column="who")
    floats = sides(
        many(100, who=[float("nan") if i == 7 else float(i % 25) for i in range(100)]),
        method="by_group",
        group_column="who",
    )
    assert {key for key in whole if whole[key] != floats[key]} <= {content_id(b"text 7")}


# the files' own names


def test_a_param_means_the_files_own_column_where_ours_has_its_name(tmp_path: Path) -> None:
    rows = many(200, raw_id=[f"customer {i % 25}" for i in range(200)])
    parts = run(tmp_path, rows, {"id": "raw_id"}, method="by_group", group_column="id")
    seen = [set(part["raw_id"]) for part in parts.values()]
    assert sum(map(len, seen)) == len(set.union(*seen)) == 25


def test_a_column_that_became_the_problems_is_still_known_by_its_own_name(tmp_path: Path) -> None:
    rows = many(100, labels=10).with_columns(raw_label=pl.lit("same"))
    columns = {"intent": "label", "label": "raw_label"}
    with pytest.raises(InputError, match="split is empty"):
        run(tmp_path, rows, columns, method="by_group", group_column="label")
    with pytest.raises(InputError, match="but not in train"):
        run(tmp_path, rows, columns, method="by_group", group_column=" intent ")


def test_the_content_hash_is_no_column_of_the_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no column 'id' in the data"):
        run(tmp_path, many(20), method="by_group", group_column="id")


def test_a_file_can_be_a_group(tmp_path: Path) -> None:
    rows = many(200).with_columns(source_file=pl.format("{}.csv", pl.col("source_row") % 25))
    parts = run(tmp_path, rows, method="by_group", group_column="source_file")
    assert sum(part["source_file"].n_unique() for part in parts.values()) == 25


def test_a_column_called_split_is_carried_along(tmp_path: Path) -> None:
    parts = run(tmp_path, many(100, split=["mine"] * 100))
    assert all(part["split"].unique().to_list() == ["mine"] for part in parts.values())


# predefined


def test_the_files_say_the_split(tmp_path: Path) -> None:
    said = ["train"] * 14 + ["validation"] * 2 + ["test"] * 4
    parts = run(tmp_path, many(20, source_split=said), method="predefined")
    assert [part["source_row"].to_list() for part in parts.values()] == [
        list(range(1, 15)),
        [15, 16],
        [17, 18, 19, 20],
    ]


def test_a_column_says_the_split_in_any_common_spelling(tmp_path: Path) -> None:
    said = [" Train ", "training", "val", "valid", "dev", "eval", "VALIDATION", "test", "testing", "TEST"] * 2
    parts = run(tmp_path, many(20, side=said), method="predefined", split_column="side")
    assert [part.height for part in parts.values()] == [4, 10, 6]
    assert set(SYNONYMS.values()) == set(SPLITS)


def test_a_missing_validation_split_is_drawn_from_train_only(tmp_path: Path) -> None:
    rows = many(200, source_split=["train"] * 150 + ["test"] * 50)
    parts = run(tmp_path, rows, method="predefined", validation_share=0.2)
    assert parts["test"]["source_row"].to_list() == list(range(151, 201))
    assert parts["validation"].height == pytest.approx(30, abs=15)
    longer = pl.concat([rows, many(40, prefix="newer", source_split=["train"] * 40)])
    kept = run(tmp_path, longer, method="predefined", validation_share=0.2)["validation"]
    assert set(parts["validation"]["id"]) <= set(kept["id"])


def test_test_rows_that_stand_in_train_are_counted(tmp_path: Path) -> None:
    rows = table(
        ["same", *(f"text {i}" for i in range(18)), "same"],
        ["a", "b"] * 10,
        source_split=["train"] * 12 + ["dev"] * 2 + ["test"] * 6,
    )
    run(tmp_path, rows, method="predefined")
    assert read_json(tmp_path / "metrics/split.json")["in_train_and_test"] == 1
