"""What the files' columns are called in our table, and which of them are the problem's; the labels in one spelling."""

import re
from collections.abc import Iterable

import polars as pl

from tasks import problems
from tasks.problems import Problem
from tasks.shared.errors import InputError, did_you_mean
from tasks.shared.params import Data
from tasks.shared.values import as_text

SOURCE = ("source_file", "source_row", "source_split")
RAW = "raw_"
SPELLINGS = 5  # labels that a note lists
SHOWN = 40  # columns that a sentence lists
WHOLE = re.compile(r"-?\d+(\.0+)?")


def wanted_columns(data: Data, problem: Problem) -> dict[str, str]:
    """Return the problem's column for each of the files' columns that has to be there."""
    return {data.columns.get(column, column).strip(): column for column in problem.columns}


def in_our_names(raw: pl.DataFrame, data: Data, problem: Problem) -> tuple[pl.DataFrame, dict[str, str]]:
    """Return the table with the problem's columns as text under their names, and each column's name there by that in the files.

    Raises InputError when one of the problem's columns is not there.
    """
    chosen = _chosen(raw, data, problem)
    names = _names_in_table(raw, chosen, problem)
    table = raw.rename({column: names[name] for name, column in _names_in_files(raw).items()})
    return table.with_columns(as_text(table[column]) for column in problem.columns), names


def kept_name(column: str, ours: Iterable[str]) -> str:
    """Return the name under which a file's column stands beside `ours`: its own, or raw_... where that is one of ours.

    A name that begins with raw_ already gets one more, so that no two columns end under one name.
    """
    bare = column
    while bare.startswith(RAW):
        bare = bare.removeprefix(RAW)
    return RAW + column if bare in ours else column


def _chosen(raw: pl.DataFrame, data: Data, problem: Problem) -> dict[str, str]:
    """Return the problem's column for each column of the files that is one, by `data.columns` or by its own name."""
    problems.refuse_unknown_columns(data.columns, problem)
    files = _names_in_files(raw)
    chosen: dict[str, str] = {}
    for column in problem.columns:
        name = data.columns.get(column, column).strip()
        if name not in files:
            raise InputError(
                f"{data.path}: there is no column '{name}'{did_you_mean(name, files) or '.'} It has {_some(files)}; "
                f"say which one is the {column} with --data.columns.{column} NAME"
            )
        if name in chosen:
            raise InputError(f"data.columns: '{name}' cannot be both {chosen[name]} and {column}; name a column for each")
        chosen[name] = column
    return chosen


def _some(columns: Iterable[str]) -> str:
    """Return the columns as a sentence lists them: of thousands the first."""
    names = list(columns)
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


def _names_in_files(raw: pl.DataFrame) -> dict[str, str]:
    """Return the name in `raw` for each column name in the files."""
    names = {}
    for column in raw.columns:
        if column not in SOURCE:
            own = column.removeprefix(RAW)
            names[own if kept_name(own, SOURCE) == column else column] = column
    return names


def _names_in_table(raw: pl.DataFrame, chosen: dict[str, str], problem: Problem) -> dict[str, str]:
    """Return the name in rows.parquet for each column of the files: the problem's, its own, or raw_... beside ours."""
    ours = ("id", *problem.columns, *SOURCE)
    return {name: chosen.get(name) or kept_name(name, ours) for name in _names_in_files(raw)}


def in_one_spelling(column: pl.Series) -> tuple[pl.Series, list[str]]:
    """Return the labels without blanks around them, and what was changed in them besides.

    Whole numbers and truth values get one spelling each: a program that once meets a missing value writes 1.0 for 1 from there
    on, and two spellings in one table are one label.
    """
    labels = column.str.strip_chars()
    distinct = [label for label in labels.unique() if label]
    if all(WHOLE.fullmatch(label) for label in distinct):
        one = {label: label.partition(".")[0] for label in distinct}
    elif all(label.lower() in ("true", "false") for label in distinct):
        one = {label: label.lower() for label in distinct}
    else:
        return labels, []
    mixed = {"." in label for label in distinct} == {True, False}
    if not mixed and len(set(one.values())) == len(one):
        return labels, []
    changed = sorted(label for label in distinct if one[label] != label)
    said = ", ".join(f"{label} is written {one[label]}" for label in changed[:SPELLINGS])
    return labels.replace(one), [f"labels in more than one spelling: {said}"]
