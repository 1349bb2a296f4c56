"""Where the pictures and sounds of rows lie: beside the table that names them, or as rows of their own."""

import posixpath
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from tasks.ingest.column_names import READ
from tasks.ingest.embedded import place
from tasks.ingest.raw_files import File
from tasks.ingest.rows import Wanted
from tasks.shared.columns import SOURCE_MEDIA
from tasks.shared.errors import InputError
from tasks.shared.params import Data
from tasks.shared.values import as_text

SAID = "{}"
# characters of what a row says in a sentence
SHOWN = 200
# folders are labels, unless data.media_path says otherwise
FOLDERS = "{label}/{}"
PARTS = re.compile(r"(\{\w*\}|\*)")


def _expression(pattern: str) -> re.Pattern[str]:
    """Return what a path matches that a pattern says: `said` is {}, and {name} is a group of that name."""
    found = ""
    for part in PARTS.split(pattern):
        if part == SAID:
            found += "(?P<said>[^/]+)"
        elif part == "*":
            found += "[^/]*"
        elif PARTS.fullmatch(part):
            found += f"(?P<_{part[1:-1]}>[^/]+?)"
        else:
            found += re.escape(part)
    return re.compile(found)


def _fields(match: re.Match[str]) -> dict[str, str]:
    return {name[1:]: text for name, text in match.groupdict().items() if name.startswith("_")}


def _refuse_names(pattern: str, taken: Iterable[str]) -> None:
    """Raise InputError when a part of a path is called like a column that is there already."""
    for name in sorted(_expression(pattern).groupindex.keys() & {f"_{name}" for name in taken}):
        raise InputError(
            f"data.media_path: the rows have a column '{name[1:]}' already; name that part otherwise"
        )


def rows_of(files: Sequence[File], params: Data, column: str) -> pl.DataFrame:
    """Return a row for each file: its path as `column`, and what data.media_path finds in its path.

    Raises InputError when a part of the path is called like one of these columns.
    """
    pattern = params.media_path or FOLDERS
    _refuse_names(pattern, (column, *READ))
    ends = re.compile(f"(?:.*/)?(?:{_expression(pattern).pattern})")
    rows: list[dict[str, Any]] = []
    for file in files:
        match = ends.fullmatch(file.name)
        rows.append(
            {
                column: file.name,
                **(_fields(match) if match else {}),
                "source_file": file.name,
                "source_row": 1,
                "source_split": file.split,
                SOURCE_MEDIA: file.name,
            }
        )
    known = {"source_row": pl.Int64, "source_split": pl.String}
    return pl.DataFrame(rows, schema_overrides=known, infer_schema_length=None)


def beside_tables(table: pl.DataFrame, params: Data, wanted: Wanted) -> pl.DataFrame:
    """Return the rows of tables with the path below data.path of the file that each names (`source_media`).

    Also with what data.media_path finds in that path. Null where there is no such file, or more than one.
    Raises InputError when the table has a column of the same name, and where data.path is the table alone:
    what lies beside it is not in the stage's key.
    """
    if wanted.media not in table.columns:
        return table
    # SAID is no name that a part of a path can have
    said = table.select("source_file", as_text(table[wanted.media]).alias(SAID))
    pattern = params.media_path or SAID
    _refuse_names(pattern, (*table.columns, SOURCE_MEDIA))
    root = Path(params.path) if Path(params.path).is_dir() else Path(params.path).parent
    pairs = said.drop_nulls().unique(maintain_order=True)
    stood = [place(text, wanted.embedded) is not None for text in pairs[SAID]]
    is_held = pl.Series(stood, dtype=pl.Boolean)
    held, named = pairs.filter(is_held), pairs.filter(~is_held)
    if named.height:
        _refuse_no_folder(named[SAID][0], pattern, params)
    folders = [posixpath.dirname(name.partition("#")[0]) for name in named["source_file"]]
    found = [*_held(held[SAID], pattern), *_lying(root, folders, named[SAID], pattern, wanted)]
    paths = pl.DataFrame(schema={SOURCE_MEDIA: pl.String})
    if found:
        paths = pl.DataFrame(found, schema_overrides=paths.schema, infer_schema_length=None)
    known = pl.concat([pl.concat([held, named]), paths], how="horizontal")
    beside = said.join(known, on=["source_file", SAID], how="left", maintain_order="left")
    return pl.concat([table, beside.select(paths.columns)], how="horizontal")


def _refuse_no_folder(said: str, pattern: str, params: Data) -> None:
    """Raise InputError where the file that a row names is none of data.path's, or the pattern asks no row."""
    if Path(params.path).is_file():
        alone = f"its rows name files beside it, such as '{said[:SHOWN]}', and the path is this table alone"
        raise InputError(f"data.path: '{params.path}': {alone}; give the folder that holds both")
    if SAID not in pattern:
        missing = f"in '{pattern}' nothing stands for what a row says, such as '{said[:SHOWN]}'"
        raise InputError(f"data.media_path: {missing}; write {SAID} there, as in images/{SAID}.png")


def _held(said: pl.Series, pattern: str) -> Iterator[dict[str, str | None]]:
    """Yield for each file that stood in a table what it is called, and what the pattern finds in its name."""
    expression = _expression(pattern)
    for text in said:
        match = expression.fullmatch(posixpath.basename(text))
        yield {SOURCE_MEDIA: text, **(_fields(match) if match else {})}


def _lying(
    root: Path, folders: list[str], said: pl.Series, pattern: str, wanted: Wanted
) -> Iterator[dict[str, str | None]]:
    """Yield for each text the file that it names, below the folder of its table."""
    if PARTS.split(pattern)[1::2] != [SAID]:
        yield from _looked_up(root, folders, said.to_list(), pattern, wanted)
        return
    for folder, text in zip(folders, said, strict=True):
        yield {SOURCE_MEDIA: posixpath.normpath(posixpath.join(folder, pattern.replace(SAID, text)))}


def _looked_up(
    root: Path, folders: list[str], said: list[str], pattern: str, wanted: Wanted
) -> Iterator[dict[str, str | None]]:
    """Yield for each text the one file that it names under the pattern, and what stands in its path."""
    expression = _expression(pattern)
    files = [path.relative_to(root).as_posix() for path in sorted(root.rglob("*")) if wanted.is_media(path)]
    by_folder: dict[str, dict[str, list[tuple[str, dict[str, str]]]]] = {}
    for folder, text in zip(folders, said, strict=True):
        if folder not in by_folder:
            its = by_folder[folder] = {}
            for file in files:
                if match := expression.fullmatch(posixpath.relpath(file, folder or ".")):
                    its.setdefault(match["said"], []).append((file, _fields(match)))
        matches = by_folder[folder].get(text, [])
        if len(matches) == 1:
            file, fields = matches[0]
            yield {SOURCE_MEDIA: file, **fields}
        else:
            yield {SOURCE_MEDIA: None}
