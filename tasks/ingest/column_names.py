"""What the files' columns are called in our table, and which of them are the problem's."""

from collections.abc import Iterable
from pathlib import Path

import polars as pl

from tasks.ingest.embedded import FOLDER
from tasks.ingest.rows import Wanted
from tasks.problems import Problem
from tasks.shared import columns
from tasks.shared.columns import SOURCE_MEDIA, Columns, kind, media_facts, present
from tasks.shared.errors import InputError, did_you_mean, listed
from tasks.shared.params import Data
from tasks.shared.values import as_text

SOURCE = ("source_file", "source_row", "source_split")
# what reading writes beside the files' columns: where a row has a picture or sound, its file too
READ = (*SOURCE, SOURCE_MEDIA)
# what split writes beside them
RESERVED = ("id", *READ, "source_group")
RAW = "raw_"
# columns that a sentence lists
SHOWN = 40


def wanted(data: Data, problem: Problem, media_folder: Path) -> Wanted:
    """Return what the problem wants of each file; media_folder: where pictures and sounds are kept."""
    its = present(problem.columns, data.columns)
    names = {data.columns.get(column, column).strip(): column for column in its}
    lists = [name for name, column in names.items() if kind(problem.columns[column]).has_lists]
    objects = [name for name, column in names.items() if kind(problem.columns[column]).has_objects]
    media = next((name for name, column in names.items() if column == columns.media(its)), None)
    endings = problem.media_endings
    embedded = media_folder / FOLDER
    return Wanted(names, lists, data.column_names, problem.read, objects, media, endings, embedded)


def in_our_names(raw: pl.DataFrame, data: Data, columns: Columns) -> tuple[pl.DataFrame, dict[str, str]]:
    """Return the table with the problem's columns as text, and where the files' columns stand in it.

    That is each column's name in the table by its name in the files. Raises InputError when one of the
    problem's columns is not there.
    """
    its = present(columns, data.columns)
    chosen = _chosen(raw, data, its)
    names = _names_in_table(raw, chosen, columns)
    table = raw.rename({column: names[name] for name, column in _names_in_files(raw).items()})
    return table.with_columns(as_text(table[column]) for column in its), names


def kept_name(column: str, ours: Iterable[str]) -> str:
    """Return the name under which a file's column stands beside `ours`: its own, or raw_... if it is one.

    A name that begins with raw_ already gets one more, so that
    no two columns end under one name.
    """
    bare = column
    while bare.startswith(RAW):
        bare = bare.removeprefix(RAW)
    return RAW + column if bare in ours else column


def _chosen(raw: pl.DataFrame, data: Data, its: Columns) -> dict[str, str]:
    """Return the problem's column for each of the files' that is one, by `data.columns` or its own name."""
    files = _names_in_files(raw)
    chosen: dict[str, str] = {}
    for column in its:
        name = data.columns.get(column, column).strip()
        if name not in files:
            known = listed([*files], SHOWN)
            missing = f"there is no column '{name}'{did_you_mean(name, files) or '.'} It has {known}"
            remedy = f"say which one is the {column} with --data.columns.{column} NAME"
            raise InputError(f"{data.path}: {missing}; {remedy}")
        if name in chosen:
            both = f"'{name}' cannot be both {chosen[name]} and {column}"
            raise InputError(f"data.columns: {both}; name a column for each")
        chosen[name] = column
    return chosen


def _names_in_files(raw: pl.DataFrame) -> dict[str, str]:
    """Return the name in `raw` for each column name in the files."""
    names = {}
    for column in raw.columns:
        if column not in READ:
            own = column.removeprefix(RAW)
            names[own if kept_name(own, READ) == column else column] = column
    return names


def _names_in_table(raw: pl.DataFrame, chosen: dict[str, str], columns: Columns) -> dict[str, str]:
    """Return the name in rows.parquet for each column of the files: the problem's, its own, or raw_... ."""
    ours = (*RESERVED, *columns, *media_facts(columns))
    return {name: chosen.get(name) or kept_name(name, ours) for name in _names_in_files(raw)}


def in_one_spelling(table: pl.DataFrame, its: Columns) -> tuple[pl.DataFrame, list[str]]:
    """Return the table with values that are the same in one spelling, and what was changed for that."""
    notes = []
    for name, column in its.items():
        values, changed = kind(column).one_spelling(table[name])
        table = table.with_columns(values)
        if changed:
            notes.append(f"{name}s in more than one spelling: {changed}")
    return table, notes
