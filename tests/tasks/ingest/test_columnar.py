"""Parquet and Arrow as other programs write them: only what is asked for has to be right, and damage is a sentence."""

import json
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet
import pytest

from tasks import problems
from tasks.ingest import ingest
from tasks.ingest.readers import read
from tasks.shared.errors import InputError
from tasks.shared.params import Data, Ingest, Params
from tasks.shared.paths import Paths
from tests.support.ingest import LENIENT, run
from tests.support.raw_files import pairs, refused, taken
from tests.support.split import run as split_run
from tests.support.split import table as rows_of

TEXTS = ["hello", "bye", "thanks"]
LABELS = ["greet", "leave", "greet"]


def written(path: Path, metadata: dict[str, str] | None = None, **columns: Any) -> Path:
    """Write columns, beside texts and labels, in the format that the name says."""
    table = pa.table({"text": TEXTS, "label": LABELS} | columns)
    table = table.replace_schema_metadata(metadata)
    path.parent.mkdir(exist_ok=True)
    if path.suffix == ".parquet":
        pyarrow.parquet.write_table(table, path)
    else:
        with pa.ipc.new_stream(str(path), table.schema) as writer:
            writer.write_table(table)
    return path


def metadata(**names: list[str]) -> dict[str, str]:
    """Return what `datasets` writes beside columns of classes."""
    features = {column: {"names": classes, "_type": "ClassLabel"} for column, classes in names.items()}
    return {
        "huggingface": json.dumps(
            {"info": {"features": {"text": {"dtype": "string", "_type": "Value"}, **features}}}
        )
    }


def bytes_as_text(values: list[bytes]) -> pa.Array:
    """Return an array that says it is text, whatever the bytes are."""
    array = pa.array(values, pa.binary())
    return pa.StringArray.from_buffers(len(array), array.buffers()[1], array.buffers()[2])


# columns that nobody asked for

STRANGE: dict[str, pa.Array] = {
    "decimal256": pa.array([Decimal(1)] * 3, pa.decimal256(50, 2)),
    "interval": pa.array([pa.MonthDayNano([1, 2, 3])] * 3),
    "union": pa.UnionArray.from_sparse(pa.array([0, 0, 0], pa.int8()), [pa.array([1, 2, 3])]),
    "empty struct": pa.array([{}] * 3, pa.struct([])),
    "struct": pa.array([{"a": 1}] * 3),
    "map": pa.array([[("a", 1)]] * 3, pa.map_(pa.string(), pa.int64())),
    "list": pa.array([[1.0]] * 3),
    "bytes": pa.array([b"\xff", b"\xfe", b"a"]),
    "bytes that say they are text": bytes_as_text([b"\xff", b"\xfe", b"a"]),
    "fixed bytes": pa.array([b"ab"] * 3, pa.binary(2)),
    "run ends": pa.RunEndEncodedArray.from_arrays([3], ["a"]),
}


# what it can hold
PARQUET = [strange for strange in STRANGE if strange not in ("interval", "union", "empty struct", "run ends")]


@pytest.mark.parametrize(
    ("strange", "name"),
    [*((strange, "a.arrow") for strange in STRANGE), *((strange, "a.parquet") for strange in PARQUET)],
)
def test_a_column_that_nobody_asked_for_stops_nothing_and_is_named(
    tmp_path: Path, strange: str, name: str
) -> None:
    file = written(tmp_path / "raw" / name, odd=STRANGE[strange])
    found = run(tmp_path, file)
    assert found.pairs == list(zip(TEXTS, LABELS, strict=True))
    assert "odd" not in found.rows.columns
    (note,) = found.metrics["notes"]
    assert note.startswith(f"{name}: columns left out, which nobody asked for: odd (")


@pytest.mark.parametrize("strange", [strange for strange in STRANGE if "bytes" not in strange])
def test_the_same_column_is_refused_in_a_sentence_when_it_is_the_label(tmp_path: Path, strange: str) -> None:
    file = written(tmp_path / "raw/a.arrow", odd=STRANGE[strange])
    with pytest.raises(InputError, match=r"a.arrow: column 'odd' holds .*, not one plain value per row"):
        run(tmp_path, file, {"label": "odd"})


def test_columns_of_plain_types_are_carried_along(tmp_path: Path) -> None:
    moment = datetime(2026, 1, 1, 12, tzinfo=UTC)
    plain: dict[str, pa.Array] = {
        "half": pa.array([1.5, None, 2.0], pa.float16()),
        "number": pa.array([1.5, float("nan"), 2.0]),
        "price": pa.array([Decimal("1.25")] * 3, pa.decimal128(9, 2)),
        "small price": pa.array([Decimal("1.25")] * 3, pa.decimal32(9, 2)),
        "flag": pa.array([True, None, False]),
        "day": pa.array([date(2026, 1, 1)] * 3),
        "clock": pa.array([time(12)] * 3),
        "took": pa.array([timedelta(seconds=1)] * 3),
        "there": pa.array([moment] * 3, pa.timestamp("us", "+02:00")),
        "here": pa.array([moment.replace(tzinfo=None)] * 3, pa.timestamp("s")),
        "nothing": pa.nulls(3),
        "view": pa.array(["a"] * 3, pa.string_view()),
        "bytes": pa.array([b"a"] * 3),
        "class": pa.array(["a", "b", None]).dictionary_encode(),
        "a.b": pa.array([1, 2, 3]),
        "a": pa.array([4, 5, 6]),
    }
    found = run(tmp_path, written(tmp_path / "raw/a.arrow", **plain))
    assert set(plain) <= set(found.rows.columns)
    assert found.rows["number"].to_list() == [1.5, None, 2.0]
    assert found.rows["there"].to_list() == [moment] * 3
    assert (found.rows["a.b"].to_list(), found.rows["a"].to_list()) == ([1, 2, 3], [4, 5, 6])
    without = {name: values for name, values in plain.items() if name != "half"}
    again = run(tmp_path / "again", written(tmp_path / "parquet/a.parquet", **without))
    assert again.rows.drop("source_file", *(set(again.rows.columns) - set(without))).height == 3


def test_what_nobody_asked_for_and_no_table_can_hold_is_left_out(tmp_path: Path) -> None:
    late = pa.array([2**40] * 3, pa.timestamp("s"))
    its = {
        "odd": pa.array([0, 7, 1]),
        "late": late,
        "date": pa.array([2**30] * 3, pa.int32()).cast(pa.date32()),
    }
    file = written(tmp_path / "raw/a.arrow", metadata(odd=["a", "b"]), **its)
    found = run(tmp_path, file)
    assert found.pairs == list(zip(TEXTS, LABELS, strict=True))
    assert {"odd", "late", "date"}.isdisjoint(found.rows.columns)
    beyond = "beyond the years 1 to 9999"
    left_out = f"odd (a class 7 of 2), late ({beyond}), date ({beyond})"
    assert found.metrics["notes"] == [f"a.arrow: columns left out, which nobody asked for: {left_out}"]
    for name, why in (("odd", "holds the class 7"), ("late", beyond)):
        with pytest.raises(InputError, match=f"a.arrow: column '{name}' .*{why}"):
            run(tmp_path / name, file, {"label": name})


def test_values_inside_of_lists_and_objects_are_written_whatever_their_type(tmp_path: Path) -> None:
    moment = datetime(2026, 1, 31, 12, tzinfo=UTC)
    its = {
        "content": "hello",
        "role": "user",
        "at": moment,
        "day": date(2026, 1, 31),
        "clock": time(12),
        "took": timedelta(seconds=1.5),
        "price": Decimal("1.50"),
        "raw": b"a\xff",
    }
    rows = pa.array([[its, {"content": "hi", "role": "assistant"}]] * 3)
    file = written(tmp_path / "raw/a.parquet", messages=rows)
    params = Params.model_validate({"problem": "text_generation", "text_generation": {"rows": "messages"}})
    ingest(
        Data(path=str(file)),
        Ingest(drop_duplicates=False),
        problems.load("text_generation", params.own),
        Paths(tmp_path),
    )
    (said, *_) = pl.read_parquet(tmp_path / "data/ingested/rows.parquet")["messages"]
    assert json.loads(said)[0] == its | {
        "at": "2026-01-31T12:00:00.000000+00:00",
        "day": "2026-01-31",
        "clock": "12:00:00",
        "took": "PT1.5S",
        "price": "1.5",
        "raw": "a\\xff",
    }
    labelled = written(tmp_path / "raw/b.parquet", days=pa.array([[date(2026, 1, 31)], [], None]))
    problem = problems.load("text_multi_label_classification")
    data = Data(path=str(labelled), columns={"labels": "days"})
    ingest(data, Ingest(max_rejected=0.5), problem, Paths(tmp_path / "labels"))
    found = pl.read_parquet(tmp_path / "labels/data/ingested/rows.parquet")["labels"]
    assert found.to_list() == [["2026-01-31"], []]


def test_a_text_in_a_dictionary_is_limited_as_any_other(tmp_path: Path) -> None:
    long = pa.array(["a" * 100_001, "b", "c"]).dictionary_encode()
    file = written(tmp_path / "a.arrow", text=long)
    with pytest.raises(InputError, match="row 1 has a field of 100001 characters"):
        read(Data(path=str(file), max_field_chars=100_000))


def test_a_zone_in_one_file_and_none_in_another_stop_nothing(tmp_path: Path) -> None:
    moment = datetime(2026, 1, 1, 12, tzinfo=UTC)
    written(tmp_path / "raw/a.parquet", at=pa.array([moment] * 3, pa.timestamp("us", "UTC")))
    written(
        tmp_path / "raw/b.parquet",
        text=["x", "y", "z"],
        at=pa.array([moment.replace(tzinfo=None)] * 3, pa.timestamp("us")),
    )
    found = run(tmp_path, tmp_path / "raw")
    assert found.rows.height == 6
    rows = rows_of([f"text {i}" for i in range(6)], ["a", "b"] * 3, at=found.rows["at"].to_list())
    parts = split_run(
        tmp_path / "split",
        rows,
        method="by_time",
        time_column="at",
        test_share=0.2,
        validation_share=0.2,
        min_rows_per_label=1,
    )
    assert sum(part.height for part in parts.values()) == 6


# text that is none, and damage


@pytest.mark.parametrize("values", [[b"hello", b"caf\xe9", None], None])
def test_a_text_that_is_not_utf8_is_a_reject(tmp_path: Path, values: list[bytes] | None) -> None:
    texts = pa.array(values) if values else bytes_as_text([b"hello", b"caf\xe9", b""])
    found = run(tmp_path, written(tmp_path / "raw/a.arrow", text=texts, when=[1, 2, 3]), **LENIENT)
    assert found.pairs == [("hello", "greet")]
    assert [(reject["row"], reject["reason"].split(":")[1]) for reject in found.rejected] == [
        (2, " not UTF-8"),
        (3, " missing" if values else " blank"),
    ]
    assert found.rows["when"].to_list() == [1]


def test_offsets_beyond_the_data_are_refused_in_a_sentence(tmp_path: Path) -> None:
    offsets = pa.py_buffer(b"".join(number.to_bytes(4, "little") for number in (0, 1 << 28, 5, 8)))
    damaged = pa.StringArray.from_buffers(3, offsets, pa.py_buffer(b"hellobye"))
    assert "a.arrow: column 'text' is damaged" in refused(written(tmp_path / "a.arrow", text=damaged))


@pytest.mark.parametrize("name", ["a.parquet", "a.arrow"])
def test_two_columns_of_one_name_are_refused(tmp_path: Path, name: str) -> None:
    file = written(tmp_path / name, **{" label": ["x", "y", "z"]})
    assert refused(file) == f"{name}: two columns are called label; rename one of them"


# what datasets writes


@pytest.mark.parametrize("name", ["a.parquet", "a.arrow"])
def test_the_names_of_classes_are_the_labels(tmp_path: Path, name: str) -> None:
    file = written(tmp_path / "raw" / name, metadata(label=["greet", "leave"]), label=[0, 1, -1])
    found = run(tmp_path, file, **LENIENT)
    assert found.pairs == [("hello", "greet"), ("bye", "leave")]
    assert [reject["reason"] for reject in found.rejected] == ["label: missing"]


def test_a_class_without_a_name_is_refused(tmp_path: Path) -> None:
    file = written(tmp_path / "a.parquet", metadata(label=["greet", "leave"]), label=[0, 1, 7])
    with pytest.raises(InputError, match="column 'label' holds the class 7, but the file names 2 classes"):
        run(tmp_path / "out", file)


def test_classes_in_lists_are_their_names(tmp_path: Path) -> None:
    from datasets import ClassLabel, Dataset, Features, List, Value

    tags = List(ClassLabel(names=["O", "B-person", "I-person"]))
    features = Features({"tokens": List(Value("string")), "tags": tags})
    rows = Dataset.from_dict({"tokens": [["Anna", "Weber", "sings"]], "tags": [[1, 2, 0]]}, features=features)
    rows.save_to_disk(tmp_path / "saved")
    rows.to_parquet(tmp_path / "rows.parquet")
    problem = problems.load(
        "token_classification", Params.model_validate({"problem": "token_classification"}).own
    )
    for source in ("saved", "rows.parquet"):
        ingest(Data(path=str(tmp_path / source)), Ingest(), problem, Paths(tmp_path / f"of {source}"))
        taken_ = pl.read_parquet(tmp_path / f"of {source}/data/ingested/rows.parquet")
        assert taken_["tags"].to_list() == [["B-person", "I-person", "O"]]


def test_a_class_that_a_list_lacks_is_no_label_and_brackets_in_a_text_are_text(tmp_path: Path) -> None:
    its = {"tags": {"feature": {"names": ["a", "b"], "_type": "ClassLabel"}, "_type": "List"}}
    its |= {"label": {"names": ["greet"], "_type": "ClassLabel"}}
    said = {"huggingface": json.dumps({"info": {"features": its}})}
    file = written(
        tmp_path / "a.parquet", said, tags=[[0, -1], [1], [-1]], label=["[x", "[" * 100_000, "[0]"]
    )
    problem = problems.load("text_multi_label_classification")
    ingest(Data(path=str(file), columns={"labels": "tags"}), Ingest(), problem, Paths(tmp_path))
    rows = pl.read_parquet(tmp_path / "data/ingested/rows.parquet")
    assert rows["labels"].to_list() == [["a"], ["b"], []]


@pytest.mark.parametrize(
    "text", ["no JSON", "[]", '{"info": {"features": {"label": {"_type": "ClassLabel"}}}}', '{"info": null}']
)
def test_metadata_that_is_not_what_datasets_writes_is_no_obstacle(tmp_path: Path, text: str) -> None:
    assert taken(written(tmp_path / "a.parquet", {"huggingface": text})) == list(
        zip(TEXTS, LABELS, strict=True)
    )


def test_folders_that_datasets_saves_are_read_whole(tmp_path: Path) -> None:
    from datasets import ClassLabel, Dataset, DatasetDict, Features, Value

    features = Features({"text": Value("string"), "label": ClassLabel(names=["greet", "leave"])})
    rows = Dataset.from_dict({"text": ["hello", "bye"], "label": [0, 1]}, features=features)
    rows.save_to_disk(tmp_path / "one")
    written(tmp_path / "one/cache-1.arrow")
    table, _, notes = read(Data(path=str(tmp_path / "one")))
    assert pairs(table) == [("hello", "greet"), ("bye", "leave")]
    assert notes == ["cache-1.arrow: not read, not among the rows that `datasets` saved"]
    DatasetDict({"train": rows, "test": rows}).save_to_disk(tmp_path / "two")
    assert len(taken(tmp_path / "two")) == 4
    assert len(taken(tmp_path / "two", train_file="train/*.arrow", test_file="test/*.arrow")) == 4
    splits = read(Data(path=str(tmp_path / "two"))).table["source_split"]
    assert splits.to_list() == ["test", "test", "train", "train"], (
        "for split.method predefined, by their names"
    )
    rows.to_parquet(tmp_path / "three.parquet")
    assert taken(tmp_path / "three.parquet") == [("hello", "greet"), ("bye", "leave")]
