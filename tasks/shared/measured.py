"""What a model did on each test row, kept in one Arrow file.

Values, intervals, slices and the comparison with another model come from that file alone, without the model.
"""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.types as is_

from tasks.shared.errors import InputError
from tasks.shared.statistics import Statistic, take

# in the schema's metadata: a JSON object of statistics, each {"metric": ..., "columns": [...]}
KEY = b"retrain.statistics"
ID, GROUP, SLICE = "id", "group", "slice."
LABELS = pa.dictionary(pa.int32(), pa.string())


@dataclass(frozen=True)
class Measured:
    """The statistics of n test rows, in their order.

    ids: what identifies each row (String). groups: what is resampled instead of rows (String). slices:
    columns (String) whose values are looked at one by one.
    """

    ids: pl.Series
    statistics: dict[str, Statistic]
    groups: pl.Series | None = None
    slices: pl.DataFrame = field(default_factory=pl.DataFrame)

    def take(self, rows: pl.Series) -> "Measured":
        """Return some rows, by their numbers."""
        groups = None if self.groups is None else self.groups[rows]
        slices = self.slices[rows] if self.slices.width else self.slices
        return Measured(self.ids[rows], take(self.statistics, rows), groups, slices)


def write(measured: Measured, path: Path) -> None:
    """Write an Arrow file (IPC) with a row per test row: the same bytes for the same rows.

    Columns: id, group where there is one, each column of the statistics once under its own name, and
    slice.NAME for slices. Labels are a dictionary's numbers, so that both numbers and names stand in it.
    Raises InputError when two statistics have different columns of one name.
    """
    columns = {ID: measured.ids}
    if measured.groups is not None:
        columns[GROUP] = measured.groups
    described = {}
    for name, statistic in measured.statistics.items():
        described[name] = {"metric": statistic.metric, "columns": statistic.columns.columns}
        for column in statistic.columns:
            held = columns.setdefault(column.name, column)
            if not held.equals(column):
                twice = f"two statistics have different columns called '{column.name}'"
                raise InputError(f"measure: {twice}; give one of them another name")
    columns |= {f"{SLICE}{column.name}": column for column in measured.slices}
    arrays = {name: _array(column) for name, column in columns.items()}
    types = {name: array.type for name, array in arrays.items()}
    schema = pa.schema(types, {KEY: json.dumps(described).encode()})
    path.parent.mkdir(parents=True, exist_ok=True)
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, schema) as writer:
        writer.write_batch(pa.RecordBatch.from_arrays(list(arrays.values()), schema=schema))


def read(path: Path) -> Measured:
    """Return what `write` has written.

    Raises InputError when the file is something else: damaged, of other columns or types, or of values that
    its metrics cannot use. What native code makes of a stranger's file is not known: read that in a process
    of its own.
    """
    try:
        return _measured(_batch(path))
    except (InputError, pa.ArrowException, OSError, ValueError, RecursionError) as error:
        said = " ".join(str(error).split())[:300]
        wrong = f"{path} does not hold the statistics of test rows ({said})"
        raise InputError(f"{wrong}; run evaluate again") from None


def _array(column: pl.Series) -> pa.Array:
    """Return a column as Arrow, always of the same type."""
    dtype: Any = column.dtype
    if isinstance(dtype, pl.List):
        offsets = np.concatenate([[0], np.cumsum(column.list.len().to_numpy())]).astype(np.int32)
        return pa.ListArray.from_arrays(pa.array(offsets), _array(column.explode(empty_as_null=False)))
    if isinstance(dtype, pl.Enum):
        numbers = pa.array(column.to_physical().to_numpy().astype(np.int32))
        return pa.DictionaryArray.from_arrays(numbers, pa.array(dtype.categories.to_list(), pa.string()))
    plain = pa.int64() if dtype.is_integer() else pa.float64() if dtype.is_float() else None
    return column.to_arrow().cast(plain or (pa.bool_() if dtype == pl.Boolean else pa.string()))


def _batch(path: Path) -> pa.RecordBatch:
    with pa.OSFile(str(path)) as file, pa.ipc.open_file(file) as reader:
        if reader.num_record_batches != 1:
            raise InputError(f"{reader.num_record_batches} batches of rows instead of one")
        batch = reader.get_batch(0)
    batch.validate(full=True)
    if not batch.num_rows or len(set(batch.schema.names)) < batch.num_columns:
        raise InputError("no row, or two columns of one name")
    return batch


def _measured(batch: pa.RecordBatch) -> Measured:
    columns = {}
    for name, array in zip(batch.schema.names, batch.columns, strict=True):
        columns[name] = _series(name, array)
        if array.null_count and not name.startswith(SLICE):
            raise InputError(f"{name} has no value in row {columns[name].is_null().arg_max()}")
    groups = columns.get(GROUP)
    slices = []
    for name, column in columns.items():
        if name.startswith(SLICE):
            slices.append(column.alias(name.removeprefix(SLICE)))
    texts = [columns.get(ID), *slices, *([] if groups is None else [groups])]
    if any(column is None or column.dtype != pl.String for column in texts):
        raise InputError("ids, groups and slices must be texts")
    return Measured(columns[ID], _statistics(batch.schema.metadata, columns), groups, pl.DataFrame(slices))


def _statistics(metadata: dict[bytes, bytes] | None, columns: dict[str, pl.Series]) -> dict[str, Statistic]:
    described = json.loads((metadata or {}).get(KEY, b"null"))
    if not isinstance(described, dict):
        raise InputError(f"its metadata have no {KEY.decode()}")
    # those of the same columns share a frame, so that their sums are made once
    frames: dict[tuple[str, ...], pl.DataFrame] = {}
    statistics = {}
    wanted: Any
    for name, how in described.items():
        metric, wanted = (how.get("metric"), how.get("columns")) if isinstance(how, dict) else (None, ())
        is_named = isinstance(wanted, list) and all(isinstance(column, str) for column in wanted)
        if not isinstance(metric, str) or not is_named or not columns.keys() >= set(wanted):
            raise InputError(f"{name} has no metric, or columns that are not there")
        frame = frames.setdefault(tuple(wanted), pl.DataFrame([columns[column] for column in wanted]))
        statistics[name] = Statistic(metric, frame)
    return statistics


def _series(name: str, array: pa.Array) -> pl.Series:
    """Return a column of one of the types that `write` uses."""
    type_ = array.type
    if type_ in (pa.bool_(), pa.int64(), pa.float64(), pa.string()):
        return pl.Series(name, pl.from_arrow(array))
    inner = array.values if is_.is_list(type_) else array
    if inner.type != LABELS:
        raise InputError(f"{name} is of type {type_}")
    names = inner.dictionary.to_pylist()
    if None in names or len(set(names)) < len(names):
        raise InputError(f"{name} names a label twice, or not")
    texts: Any = pl.from_arrow(array.cast(pa.list_(pa.string()) if is_.is_list(type_) else pa.string()))
    labels = pl.Enum(names)
    return pl.Series(name, texts).cast(pl.List(labels) if is_.is_list(type_) else labels)
