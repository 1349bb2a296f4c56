"""Rows as model inputs, part by part: what the rows of a whole split become in constant memory."""

from collections.abc import Callable, Iterator
from dataclasses import replace

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from tasks.problems import Encoded

AT_ONCE = 65_536  # rows that are read at once

Encode = Callable[[pl.DataFrame], Iterator[Encoded]]


def encoded(rows: pl.LazyFrame, encode: Encode) -> Iterator[Encoded]:
    """Yield model inputs of all rows in order; where they name rows, by their numbers among all."""
    total = rows.select(pl.len()).collect().item()
    for start in range(0, total, AT_ONCE):
        for one in encode(rows.slice(start, AT_ONCE).collect()):
            yield replace(one, inputs=_counted_from(start, one.inputs))


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
