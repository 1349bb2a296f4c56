"""The raw files that `data` names, in one table."""

from typing import NamedTuple

import polars as pl

from tasks.ingest.column_names import READ, kept_name
from tasks.ingest.contents import contents
from tasks.ingest.media_paths import beside_tables, rows_of
from tasks.ingest.raw_files import File, raw_files
from tasks.ingest.rows import Read, Reject, Wanted
from tasks.shared.engine import LOCAL, Engine
from tasks.shared.errors import InputError, listed
from tasks.shared.params import Data
from tasks.shared.values import as_text

# names of files that a note lists
SHOWN = 5


class Raw(NamedTuple):
    """The raw rows in a table, those that could not be read, and what was found out or passed over."""

    table: pl.DataFrame
    rejects: list[Reject]
    notes: list[str]


def read(params: Data, wanted: Wanted | None = None, engine: Engine = LOCAL) -> Raw:
    """Read every file that `params` names.

    The table's own columns are strings where the format has no types, with `source_file`, `source_row`
    (int64, 1-based) and `source_split` (train, validation, test or null) beside them.
    wanted: the columns that must be there; of the others, those that hold one plain value per row are there
    too. Raises InputError for a missing, empty, binary or wrongly encoded file.
    """
    wanted = wanted or Wanted()
    files, passed_over = raw_files(params, wanted)
    notes: dict[str, list[str]] = {}
    for name, why in passed_over.items():
        notes.setdefault(f"not read, {why}", []).append(name)
    tables, rejects = [], []
    without: dict[str | None, list[tuple[File, Read]]] = {}
    media = [file for file in files if wanted.is_media(file.path)]
    others = [file for file in files if not wanted.is_media(file.path)]
    for file, found in contents(others, params, wanted, engine):
        rejects += found.rejects
        for note in found.notes:
            notes.setdefault(note, []).append(file.name)
        if len(found.numbers):
            tables.append(_table(found, file))
        else:
            without.setdefault(file.split, []).append((file, found))
            if not found.rejects:
                notes.setdefault("no rows", []).append(file.name)
    _refuse_nothing(files, without)
    if tables and wanted.media:
        tables = [beside_tables(table, params, wanted) for table in tables]
    if media:
        tables.append(rows_of(media, params, wanted.media or ""))
    table = pl.concat(_of_one_type(tables), how="diagonal_relaxed")
    return Raw(table, rejects, [*map(_sentence, notes.items())])


def _table(found: Read, file: File) -> pl.DataFrame:
    table = pl.DataFrame(found.columns)
    table = table.rename({column: kept_name(column, READ) for column in table.columns})
    split = pl.lit(file.split, pl.String)
    return table.with_columns(source_file=pl.lit(file.name), source_row=found.numbers, source_split=split)


def _of_one_type(tables: list[pl.DataFrame]) -> list[pl.DataFrame]:
    """Write as text each column that is not of one type in all files: 1 here and 1.0 there are one label."""
    kinds: dict[str, set[object]] = {}
    for table in tables:
        for column, kind in table.schema.items():
            if kind != pl.Null:
                kinds.setdefault(column, set()).add(_kind(kind))
    mixed = {column for column, found in kinds.items() if len(found) > 1}
    same = []
    for table in tables:
        texts = [as_text(table[column]) for column in mixed & set(table.columns)]
        same.append(table.with_columns(texts))
    return same


def _kind(kind: pl.DataType) -> object:
    """Return what makes a type another kind of value: not how many bits or digits it has."""
    if isinstance(kind, pl.Datetime):
        return "time", kind.time_zone
    return "integer" if kind.is_integer() else "number" if kind.is_float() else kind


def _refuse_nothing(files: list[File], without: dict[str | None, list[tuple[File, Read]]]) -> None:
    """Raise InputError when no file, or none of a split, has rows: one of many exports may well be empty."""
    for split, empty in without.items():
        if len(empty) == sum(file.split == split for file in files):
            file, found = next(((file, found) for file, found in empty if found.rejects), empty[0])
            if file.path.stat().st_size == 0:
                raise InputError(f"{file.name}: the file is empty; give a file with data")
            why = f" ({len(found.rejects)} {found.rejects[0].reason[:200]})" if found.rejects else ""
            raise InputError(f"{file.name}: no rows in it{why}; give a file with data")


def _sentence(note: tuple[str, list[str]]) -> str:
    what, names = note
    return f"{listed(names, SHOWN)}: {what}"
