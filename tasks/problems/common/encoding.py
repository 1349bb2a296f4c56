"""Rows as model inputs, shard by shard: what the rows of a whole split become in constant memory."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from tasks.problems import Encoded, Problem
from tasks.shared import columns
from tasks.shared.engine import LOCAL, Engine

# rows that are read at once
AT_ONCE = 65_536
# rows that are encoded together: texts that are packed are so with others of these
SHARD = 4096
# of rows that name pictures or sounds, whose files are sent along
SHARD_WITH_FILES = 512

Encode = Callable[[pl.DataFrame], Iterator[Encoded]]


class Rows(NamedTuple):
    """Some rows of a split, and the number of the first one among all."""

    start: int
    table: pl.DataFrame


def encoded(
    rows: pl.LazyFrame, encode: Encode, problem: Problem, engine: Engine = LOCAL
) -> Iterator[Encoded]:
    """Yield model inputs of all rows in order; where they name rows, by their numbers among all."""
    column = columns.media(problem.columns)
    size = SHARD if column is None else SHARD_WITH_FILES

    def files(shard: Rows) -> list[Path]:
        return [] if column is None else [problem.media / name for name in shard.table[column]]

    yield from engine.map(partial(_encoded, encode), _shards(rows, size), reads=files)


def _shards(rows: pl.LazyFrame, size: int) -> Iterator[Rows]:
    total = rows.select(pl.len()).collect().item()
    for start in range(0, total, AT_ONCE):
        some = rows.slice(start, AT_ONCE).collect()
        for within in range(0, some.height, size):
            yield Rows(start + within, some[within : within + size])


def _encoded(encode: Encode, shard: Rows) -> Iterator[Encoded]:
    for one in encode(shard.table):
        yield replace(one, inputs=_counted_from(shard.start, one.inputs))


def _counted_from(start: int, inputs: pa.RecordBatch) -> pa.RecordBatch:
    """Return inputs of rows that begin at `start`, with the numbers of their rows in the whole split."""
    if "row" not in inputs.schema.names:
        return inputs
    place, rows = inputs.schema.get_field_index("row"), inputs["row"]
    if pa.types.is_list(rows.type):
        counted = pa.ListArray.from_arrays(rows.offsets, pc.add(rows.values, pa.scalar(start, pa.int64())))
    else:
        counted = pc.add(rows, pa.scalar(start, pa.int64()))
    return inputs.set_column(place, "row", counted)
