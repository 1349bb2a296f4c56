"""What is in each raw file, read in a process of its own and kept within limits that are params."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa

from tasks.ingest.formats import read_file
from tasks.ingest.raw_files import File
from tasks.ingest.rows import AT_ONCE, Read, Reject, Wanted, limit_columns
from tasks.ingest.sandbox import MB, Job, Part, apart
from tasks.shared.engine import LOCAL, Engine
from tasks.shared.errors import InputError
from tasks.shared.params import Data

# that are read together where several processes read
FILES = 8
# a file may take as many times its own size, where that is more than data.max_memory_mb
TIMES = 24
# seconds of computing without a row, and one more for each megabyte
PATIENCE = 60
# what ingest takes for a row and for each cell in it, beside the values: measured on 1,000,000 short rows
ROW, CELL = 512, 16


def contents(
    files: list[File], params: Data, wanted: Wanted, engine: Engine = LOCAL
) -> Iterator[tuple[File, Read]]:
    """Yield what is in each file, read in a process of its own."""
    budget = _Budget(params)
    at, parts = 0, _Parts()
    shards = engine.chunks([*enumerate(files)], FILES)
    found = engine.map(partial(_found, params, wanted), shards, reads=_paths, writes=wanted.embedded)
    for index, part in found:
        while at < index:
            yield files[at], parts.together()
            at, parts = at + 1, _Parts()
        budget.take(files[at], part)
        parts.add(files[at].name, part)
    for file in files[at:]:
        yield file, parts.together()
        parts = _Parts()


def _paths(shard: Sequence[tuple[int, File]]) -> list[Path]:
    return [file.path for _, file in shard]


def _found(params: Data, wanted: Wanted, shard: Sequence[tuple[int, File]]) -> Iterator[tuple[int, Part]]:
    """Yield what is in some files, part by part, with each file's number."""
    jobs = [_job(file, params) for _, file in shard]
    for place, part in apart(jobs, lambda place: _read(shard[place][1], params, wanted)):
        yield shard[place][0], part


def _job(file: File, params: Data) -> Job:
    size = file.path.stat().st_size
    return Job(file.name, max(params.max_memory_mb * MB, TIMES * size), PATIENCE + size // MB)


def _read(file: File, params: Data, wanted: Wanted) -> Iterator[Part]:
    """Yield what is in a file, some rows at a time (in the process that reads)."""
    for found in read_file(file.path, file.name, file.field, params, wanted):
        columns = {column: _typed(values) for column, values in found.columns.items()}
        for start in range(0, len(found.numbers), AT_ONCE):
            chosen = slice(start, start + AT_ONCE)
            arrays = [pa.array(found.numbers[chosen], pa.int64())]
            arrays += [pa.array(values[chosen], kind) for values, kind in columns.values()]
            yield Part({}, pa.record_batch(arrays, names=["", *columns]))
        for start in range(0, len(found.rejects), AT_ONCE):
            some = found.rejects[start : start + AT_ONCE]
            yield Part({"rejects": [[reject.row, reject.reason] for reject in some]})
        yield Part({"notes": found.notes, "left_out": found.left_out})


def _typed(values: Any) -> tuple[Any, pa.DataType]:
    """Return a column with its type; texts that are all missing have none."""
    if isinstance(values, pa.Array):
        return values, values.type
    return values, pa.large_string() if any(value is not None for value in values) else pa.null()


@dataclass
class _Parts:
    """What has come of one file."""

    rows: int = 0
    numbers: list[pa.Array] = field(default_factory=list)
    columns: dict[str, list[pa.Array]] = field(default_factory=dict)
    rejects: list[Reject] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add(self, name: str, part: Part) -> None:
        """Take in what came."""
        if part.batch is not None:
            numbers, *columns = part.batch.columns
            here = dict(zip(part.batch.schema.names[1:], columns, strict=True))
            for column in here:
                self.columns.setdefault(column, [pa.nulls(self.rows)])
            for column, chunks in self.columns.items():
                chunks.append(here.get(column, pa.nulls(len(numbers))))
            self.numbers.append(numbers)
            self.rows += len(numbers)
        self.rejects += [Reject(name, row, reason, {}) for row, reason in part.said.get("rejects", ())]
        self.notes += part.said.get("notes", ())
        for column in part.said.get("left_out", ()):
            self.columns.pop(column, None)

    def together(self) -> Read:
        """Return the whole."""
        columns = {column: pl.from_arrow(_of_one_type(chunks)) for column, chunks in self.columns.items()}
        numbers = pl.from_arrow(pa.chunked_array(self.numbers, pa.int64()))
        return Read(columns, numbers, self.rejects, self.notes)


def _of_one_type(chunks: list[pa.Array]) -> pa.ChunkedArray:
    """Return parts of a column as one; those without a value have no type."""
    kinds = [chunk.type for chunk in chunks if not pa.types.is_null(chunk.type)] or [pa.null()]
    return pa.chunked_array([chunk if chunk.type == kinds[0] else chunk.cast(kinds[0]) for chunk in chunks])


class _Budget:
    """What all files together may become: small ones can hold many rows, and each takes memory."""

    def __init__(self, params: Data) -> None:
        self.params = params
        self.taken = self.size = 0
        self.files: set[str] = set()
        self.columns: set[str] = set()

    def take(self, file: File, part: Part) -> None:
        """Count a part of a file; raise InputError when it is one too many."""
        if file.name not in self.files:
            self.files.add(file.name)
            self.size += file.path.stat().st_size
        if part.batch is None:
            return
        self.taken += part.batch.nbytes + part.batch.num_rows * (ROW + CELL * part.batch.num_columns)
        most = max(self.params.max_memory_mb * MB, TIMES * self.size)
        if self.taken > most:
            greed = f"its rows would take more than {most // MB} MB of memory, far more than in the file"
            remedy = f"raise data.max_memory_mb, for example: --data.max_memory_mb {2 * most // MB}"
            raise InputError(f"{file.name}: {greed}; if that is what it holds, {remedy}")
        self.columns.update(part.batch.schema.names)
        limit_columns(file.name, len(self.columns) - 1, self.params)
