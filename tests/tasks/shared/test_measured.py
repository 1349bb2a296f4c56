"""The file of what a model did on each row: all can be made of it again, and what is no such file is refused."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pytest

from tasks.shared.bootstrap import by_slice, paired, scores
from tasks.shared.errors import InputError
from tasks.shared.measured import KEY, Measured, read, write
from tasks.shared.params import Evaluate
from tasks.shared.statistics import Statistic, classification

PARAMS = Evaluate(n_resamples=100)
LABELS = ["a", "β", "c"]


def measure(seed: int = 0, rows: int = 50, ids: list[str] | None = None) -> Measured:
    random = np.random.default_rng(seed)
    actual = random.integers(0, 3, rows)
    predicted = np.where(random.random(rows) < 0.7, actual, random.integers(0, 3, rows))
    statistics = classification(predicted, actual, LABELS, random.uniform(0.3, 1, rows))
    several = pl.Series([["a"], [], ["c", "a"], ["β"], ["a"]] * (rows // 5), dtype=pl.List(pl.Enum(LABELS)))
    tags = pl.DataFrame({"tags": several, "true tags": several.reverse()})
    statistics["micro_f1"] = Statistic("micro_f1", tags)
    edits = pl.DataFrame({"edits": random.integers(0, 4, rows), "words": random.integers(1, 9, rows)})
    statistics["word_error_rate"] = Statistic("word_error_rate", edits)
    sources = ["x", None, "y", "x", "id"] * (rows // 5)
    slices = pl.DataFrame({"label": [LABELS[number] for number in actual], "source": sources})
    groups = pl.Series([f"speaker {number % 7}" for number in range(rows)])
    return Measured(pl.Series(ids or [f"{number:04}" for number in range(rows)]), statistics, groups, slices)


def test_everything_can_be_made_again_of_the_file(tmp_path: Path) -> None:
    measured, other = measure(), measure(1)
    write(measured, tmp_path / "below" / "it.arrow")
    again = read(tmp_path / "below" / "it.arrow")
    assert again.ids.equals(measured.ids)
    for groups in (None, measured.groups):
        assert scores(again.statistics, PARAMS, groups) == scores(measured.statistics, PARAMS, groups)
    differences = [paired(one.statistics, other.statistics, PARAMS, one.groups) for one in (again, measured)]
    assert differences[0] == differences[1]
    tables = [by_slice(one.statistics, one.slices, PARAMS, one.groups) for one in (again, measured)]
    assert tables[0].equals(tables[1])


def test_statistics_that_shared_a_frame_still_do(tmp_path: Path) -> None:
    write(measure(), tmp_path / "it.arrow")
    statistics = read(tmp_path / "it.arrow").statistics
    assert statistics["macro_f1"].columns is statistics["weighted_f1"].columns


def test_the_same_rows_are_the_same_bytes(tmp_path: Path) -> None:
    write(measure(), tmp_path / "one.arrow")
    write(read(tmp_path / "one.arrow"), tmp_path / "two.arrow")
    halves = [measure().take(rows) for rows in (pl.Series(range(20)), pl.Series(range(20, 50)))]
    joined = {}
    for name, statistic in halves[0].statistics.items():
        frames = [half.statistics[name].columns for half in halves]
        joined[name] = Statistic(statistic.metric, pl.concat(frames, rechunk=False))
    parts = {}
    for name in ("ids", "groups", "slices"):
        parts[name] = pl.concat([getattr(half, name) for half in halves], rechunk=False)
    write(Measured(statistics=joined, **parts), tmp_path / "three.arrow")
    assert len({file.read_bytes() for file in tmp_path.iterdir()}) == 1


def test_others_can_read_it_too(tmp_path: Path) -> None:
    write(measure(), tmp_path / "it.arrow")
    table = pl.read_ipc(tmp_path / "it.arrow")
    assert table.columns[:6] == ["id", "group", "correct", "predicted", "actual", "confidence"]
    assert table.columns[-2:] == ["slice.label", "slice.source"]
    assert table["actual"].cast(pl.String).to_list() == table["slice.label"].to_list()


def test_it_is_small(tmp_path: Path) -> None:
    measured = measure(rows=10_000)
    write(Measured(measured.ids, {"macro_f1": measured.statistics["macro_f1"]}), tmp_path / "it.arrow")
    # of a row: the id (four letters and where it ends), and two numbers
    assert (tmp_path / "it.arrow").stat().st_size < 10_000 * (4 + 4 + 4 + 4) + 2000


def test_two_columns_of_one_name_are_refused(tmp_path: Path) -> None:
    statistics = {number: Statistic("mean", pl.DataFrame({"score": [float(number)]})) for number in "12"}
    with pytest.raises(InputError, match=r"^measure: two statistics have different columns called 'score'"):
        write(Measured(pl.Series(["x"]), statistics), tmp_path / "it.arrow")


# what is no such file


def batch() -> dict[str, pa.Array]:
    return {
        "id": pa.array(["x", "y"]),
        "correct": pa.array([True, False]),
        "predicted": pa.DictionaryArray.from_arrays(pa.array([0, 1], pa.int32()), pa.array(["a", "b"])),
        "actual": pa.DictionaryArray.from_arrays(pa.array([0, 0], pa.int32()), pa.array(["a", "b"])),
    }


DESCRIBED = {
    "accuracy": {"metric": "accuracy", "columns": ["correct"]},
    "macro_f1": {"metric": "macro_f1", "columns": ["predicted", "actual"]},
}


def forge(file: Path, described: Any = DESCRIBED, **columns: pa.Array | None) -> Path:
    """Write a file as ours, but with other columns (None: without) or another description."""
    arrays = {name: array for name, array in (batch() | columns).items() if array is not None}
    text = described if isinstance(described, bytes) else json.dumps(described).encode()
    schema = pa.schema({name: array.type for name, array in arrays.items()}, {KEY: text})
    with pa.OSFile(str(file), "wb") as sink, pa.ipc.new_file(sink, schema) as writer:
        writer.write_batch(pa.RecordBatch.from_arrays(list(arrays.values()), schema=schema))
    return file


def test_a_file_as_ours_is_read(tmp_path: Path) -> None:
    assert scores(read(forge(tmp_path / "it.arrow")).statistics, PARAMS)["accuracy"] == 0.5


def labels(numbers: list[int | None], names: list[str | None]) -> pa.Array:
    indices, dictionary = pa.array(numbers, pa.int32()), pa.array(names, pa.string())
    return pa.DictionaryArray.from_arrays(indices, dictionary, safe=False)


@pytest.mark.parametrize(
    ("described", "columns", "sentence"),
    [
        (b"[1, 2", {}, "Expecting"),
        (b"[" * 100_000, {}, ""),
        (["accuracy"], {}, "no retrain.statistics"),
        ({"accuracy": "accuracy"}, {}, "accuracy has no metric"),
        ({"accuracy": {"metric": ["accuracy"], "columns": ["correct"]}}, {}, "accuracy has no metric"),
        ({"accuracy": {"metric": "accuracy", "columns": [["correct"]]}}, {}, ""),
        ({"accuracy": {"metric": "accuracy", "columns": ["wrong"]}}, {}, "columns that are not there"),
        ({"it": {"metric": "os.system", "columns": ["correct"]}}, {}, "there is no metric 'os.system'"),
        ({"it": {"metric": "accuracy", "columns": ["actual"]}}, {}, "which is no flag"),
        (DESCRIBED, {"id": None}, "ids, groups and slices must be texts"),
        (DESCRIBED, {"id": pa.array([1, 2])}, "must be texts"),
        (DESCRIBED, {"id": pa.array(["x", None])}, "id has no value in row 1"),
        (DESCRIBED, {"group": pa.array([1.5, 2.5])}, "must be texts"),
        (DESCRIBED, {"slice.x": pa.array([1, 2])}, "must be texts"),
        (DESCRIBED, {"correct": pa.array([1, 0], pa.int8())}, "correct is of type int8"),
        (DESCRIBED, {"correct": pa.array([True, None])}, "correct has no value in row 1"),
        (DESCRIBED, {"correct": pa.array([{"x": 1}, {"x": 2}])}, "correct is of type struct"),
        (DESCRIBED, {"actual": labels([0, 7], ["a", "b"])}, "out of bounds"),
        (DESCRIBED, {"actual": labels([0, -1], ["a", "b"])}, "out of bounds"),
        (DESCRIBED, {"actual": labels([0, 1], ["a", "a"])}, "actual names a label twice"),
        (DESCRIBED, {"actual": labels([0, 1], ["a", None])}, "actual"),
        (DESCRIBED, {"actual": labels([0, 1], ["a", "c"])}, "other labels"),
        (DESCRIBED, {name: array[:0] for name, array in batch().items()}, "no row"),
    ],
)
def test_what_is_forged_is_refused(
    tmp_path: Path,
    described: Any,
    columns: dict[str, Any],
    sentence: str,
) -> None:
    file = forge(tmp_path / "it.arrow", described, **columns)
    with pytest.raises(InputError) as caught:
        read(file)
    assert str(caught.value).startswith(f"{file} does not hold the statistics of test rows (")
    assert sentence in str(caught.value)


@pytest.mark.parametrize("score", [float("nan"), float("inf")])
def test_numbers_that_are_not_finite_are_refused(tmp_path: Path, score: float) -> None:
    described = {"it": {"metric": "mean", "columns": ["score"]}}
    with pytest.raises(InputError, match="where a finite number must stand"):
        read(forge(tmp_path / "it.arrow", described, score=pa.array([0.5, score])))


@pytest.mark.parametrize("content", [b"", b"ARROW1", b"not arrow at all" * 100])
def test_another_file_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "it.arrow").write_bytes(content)
    with pytest.raises(InputError, match="does not hold the statistics of test rows"):
        read(tmp_path / "it.arrow")


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not hold the statistics of test rows"):
        read(tmp_path / "it.arrow")


def test_a_damaged_file_is_refused_or_of_the_same_rows(tmp_path: Path) -> None:
    write(measure(), tmp_path / "whole.arrow")
    whole = (tmp_path / "whole.arrow").read_bytes()
    random = np.random.default_rng(0)
    refused = 0
    for _ in range(200):
        damaged = bytearray(whole[: random.integers(1, len(whole))] if random.random() < 0.3 else whole)
        damaged[random.integers(len(damaged))] ^= 1 << random.integers(8)
        (tmp_path / "damaged.arrow").write_bytes(damaged)
        try:
            assert len(read(tmp_path / "damaged.arrow").ids) == 50
        except InputError:
            refused += 1
    assert refused > 60
