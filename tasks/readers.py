"""The raw files that `data` names, in one table of strings."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import polars as pl

from tasks.choices import Format
from tasks.errors import InputError
from tasks.formats import ENDINGS, Reject, read_file
from tasks.params import Data

SOURCE = ("source_file", "source_row", "source_split")
RAW = "raw_"


def read(params: Data) -> tuple[pl.DataFrame, list[Reject]]:
    """Read every file that `params` names.

    Returns the table, all of its own columns as strings where the format has no types, with `source_file`, `source_row`
    (int64, 1-based) and `source_split` (train, validation, test or null) beside them; and the rows that could not be read.
    Raises InputError for a missing, empty, binary or wrongly encoded file.
    """
    tables, rejects = [], []
    for split, name, file, field in _files(params):
        columns, rows, bad = read_file(file, name, field, params)
        if not rows:
            raise InputError(f"{name}: no rows in it{f' ({len(bad)} unreadable)' if bad else ''}; give a file with data")
        table = pl.DataFrame(columns, strict=False)
        table = table.rename({column: kept_name(column, SOURCE) for column in table.columns})
        tables.append(table.with_columns(source_file=pl.lit(name), source_row=pl.Series(rows), source_split=pl.lit(split, pl.String)))
        rejects += bad
    return pl.concat(tables, how="diagonal_relaxed"), rejects


def _files(params: Data) -> Iterator[tuple[str | None, str, Path, str | None]]:
    """Yield (split, name, file, JSON field) for every raw file, in a fixed order."""
    root = Path(params.path)
    if not root.exists():
        raise InputError(f"data.path: there is no file or folder '{root}'; give an existing one with --data.path")
    patterns = {"train": params.train_file, "validation": params.validation_file, "test": params.test_file}
    predefined = {split: pattern for split, pattern in patterns.items() if pattern}
    if root.is_file():
        if predefined or params.files:
            raise InputError(f"data.path: '{root}' is one file, but data.files and data.*_file pick files in a folder")
        yield None, root.name, root, None
        return
    splits: list[tuple[str | None, str]] = [*predefined.items()] or [(None, params.files or "**/*")]
    for split, pattern in splits:
        glob, _, field = pattern.partition("#")
        if Path(glob).is_absolute() or ".." in Path(glob).parts:
            raise InputError(f"data.{split + '_file' if split else 'files'}: '{glob}' leaves the folder data.path '{root}'; name files inside it")
        found = sorted(path for path in root.glob(glob) if path.is_file() and not _hidden(path.relative_to(root)))
        if not params.files and not predefined:
            found = [path for path in found if path.suffix.lower() in ENDINGS or params.format != Format.auto]
        if not found:
            raise InputError(f"data.path: no file in '{root}' matches '{glob}'; known endings: {', '.join(ENDINGS)}")
        for file in found:
            yield split, f"{file.relative_to(root).as_posix()}{'#' + field if field else ''}", file, field or None


def _hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def kept_name(column: str, ours: Iterable[str]) -> str:
    """Return the name under which a file's column stands beside `ours`: its own, or raw_... where that would be one of ours.

    A name that begins with raw_ already gets one more, so that no two columns end under one name.
    """
    bare = column
    while bare.startswith(RAW):
        bare = bare.removeprefix(RAW)
    return RAW + column if bare in ours else column
