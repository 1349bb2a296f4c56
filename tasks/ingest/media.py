"""Pictures and sounds that rows name, looked at in processes of their own and kept by their SHA-256.

A damaged, hostile or endless file is a rejected row, never a crash.
"""

import hashlib
import os
import shutil
import stat
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl

from tasks.ingest import embedded
from tasks.ingest.sandbox import MB, Job, Part, apart
from tasks.problems import Problem, Unusable
from tasks.shared import columns
from tasks.shared.columns import SOURCE_MEDIA, Columns
from tasks.shared.engine import LOCAL, Engine
from tasks.shared.errors import InputError
from tasks.shared.params import Data, Ingest
from tasks.shared.progress import Progress

# that are looked at together where several nodes look
FILES = 128
# seconds of computing on one file
PATIENCE = 30
# characters of a path in a reason
SHOWN = 200


def take_in(
    rows: pl.DataFrame,
    its: Columns,
    data: Data,
    params: Ingest,
    problem: Problem,
    out: Path,
    engine: Engine = LOCAL,
) -> tuple[pl.DataFrame, pl.Series, list[str]]:
    """Keep the files that rows name below `out`, and return the rows with their names there.

    Beside them stands what is known of each, such as image_width. Also returns of each row why its file
    cannot be used, else null, and notes of what was changed. Equal files are one. its: the rows' columns.
    """
    out.mkdir(parents=True, exist_ok=True)
    column = columns.media(its) or ""
    root = Path(data.path) if Path(data.path).is_dir() else Path(data.path).parent
    named = rows.filter(pl.col(SOURCE_MEDIA).is_not_null())[SOURCE_MEDIA].unique(maintain_order=True)
    held = out / embedded.FOLDER
    places = {name: embedded.place(name, held) or root / name for name in named}
    folders = {name: held if path.parent == held else root for name, path in places.items()}
    faults = {name: fault for name in named if (fault := _fault(places[name], folders[name]))}
    sound = [name for name in named if name not in faults]
    progress = Progress(f"ingest {column}", len(sound), unit="file")
    changed: Counter[str] = Counter()
    found: list[dict[str, Any]] = [{SOURCE_MEDIA: name, "reason": fault} for name, fault in faults.items()]
    look = partial(_looked_at, data, params, problem, out, engine.processes)
    shards = engine.chunks([places[name] for name in sound], FILES)
    looked_at = engine.map(look, shards, reads=iter, writes=out)
    for number, (name, said) in enumerate(zip(sound, looked_at, strict=True), start=1):
        if changes := said.pop("changed", ""):
            changed[changes] += 1
        found.append({SOURCE_MEDIA: name, **said})
        progress.update(number)
    progress.close()
    shutil.rmtree(held, ignore_errors=True)
    notes = [f"{count} files are kept as plain ones: {what}" for what, count in sorted(changed.items())]
    return *_with_what_is_known(rows, its, found), notes


def _with_what_is_known(
    rows: pl.DataFrame, its: Columns, found: list[dict[str, Any]]
) -> tuple[pl.DataFrame, pl.Series]:
    """Return rows with the names under which their files are kept, and beside them what is known of each.

    And of each row why its file cannot be used, else null. Of the rows nothing but their files is joined: a
    column of theirs may have any name.
    """
    column = columns.media(its) or ""
    schema = {SOURCE_MEDIA: pl.String, "kept": pl.String, "reason": pl.String}
    table = pl.DataFrame(schema=schema)
    if found:
        found = [dict.fromkeys(schema) | one for one in found]
        table = pl.DataFrame(found, schema_overrides=schema, infer_schema_length=None)
    known = rows.select(SOURCE_MEDIA).join(table, on=SOURCE_MEDIA, how="left", maintain_order="left")
    facts = [known[fact].alias(name) for name, fact in columns.media_facts(its).items() if fact in known]
    kept = known["kept"].zip_with(known["kept"].is_not_null(), rows[column])
    reasons = known.select(pl.format("{}: {}", pl.lit(column), "reason")).to_series()
    return rows.with_columns(kept.alias(column), *facts), reasons


def without_file(rows: pl.DataFrame, column: str) -> pl.Series:
    """Return a reason for each row that names a file where there is none, or more than one; else null."""
    missing = pl.format("{}: there is no such file: {}", pl.lit(column), pl.col(column).str.slice(0, SHOWN))
    return rows.select(pl.when(pl.col(SOURCE_MEDIA).is_null()).then(missing)).to_series()


def facts(rows: pl.DataFrame, its: Columns) -> dict[str, Any]:
    """Return the percentiles of what is known of each file, such as its width."""
    known = columns.media_facts(its).items()
    return {fact: columns.percentiles(rows[name]) for name, fact in known if name in rows.columns}


def keep_only(names: pl.Series, out: Path) -> None:
    """Remove files that no row names any more."""
    named = set(names.to_list())
    for file in out.rglob("*"):
        if file.is_file() and file.relative_to(out).as_posix() not in named:
            file.unlink()
    for folder in out.iterdir():
        if not any(folder.iterdir()):
            folder.rmdir()


def _fault(path: Path, root: Path) -> str | None:
    """Return why a path is not to be opened."""
    try:
        target = path.resolve()
        mode = path.stat().st_mode
    except (OSError, ValueError):
        return f"there is no such file: {path.name[:SHOWN]}"
    if not target.is_relative_to(root.resolve()):
        return "leads out of the folder of data.path"
    if not stat.S_ISREG(mode):
        return "no regular file"
    return None if path.stat().st_size else "the file is empty"


def _looked_at(
    data: Data, params: Ingest, problem: Problem, out: Path, processes: int, files: Sequence[Path]
) -> Iterator[dict[str, Any]]:
    """Yield what is found out about each file, in their order, by so many processes."""
    out.mkdir(parents=True, exist_ok=True)
    count = min(processes, max(1, len(files)))
    streams = [_in_a_process(files[first::count], data, params, problem, out) for first in range(count)]
    for number in range(len(files)):
        yield next(streams[number % count])


def _in_a_process(
    files: Sequence[Path], data: Data, params: Ingest, problem: Problem, out: Path
) -> Iterator[dict[str, Any]]:
    """Yield what one process after another finds out: a file that ends its process is looked at no more."""
    jobs = [Job(file.name, data.max_memory_mb * MB, PATIENCE) for file in files]
    done = 0
    while done < len(files):
        rest = files[done:]
        try:
            for _, part in apart(jobs[done:], partial(_look, rest, params, problem, out)):
                done += 1
                yield part.said
        except InputError as error:
            reason = str(error).removeprefix(f"{jobs[done].name}: ")
            done += 1
            yield {"reason": reason}


def _look(files: Sequence[Path], params: Ingest, problem: Problem, out: Path, index: int) -> Iterator[Part]:
    """Look at a file and keep it (in the process of its own)."""
    try:
        media = problem.keep(files[index].read_bytes(), params)
    except Unusable as fault:
        yield Part({"reason": str(fault)})
        return
    digest = hashlib.sha256(media.content).hexdigest()
    name = f"{digest[:2]}/{digest}{media.suffix}"
    file = out / name
    if not file.exists():
        file.parent.mkdir(exist_ok=True)
        # another process may be keeping the same
        part = file.with_name(f"{file.name}.{os.getpid()}.part")
        part.write_bytes(media.content)
        part.rename(file)
    yield Part({"kept": name, **media.facts, "changed": media.changed})
