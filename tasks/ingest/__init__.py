"""Read the raw files, turn away the rows that cannot be used, and write one validated table."""

import hashlib
import json
import math
from dataclasses import asdict
from pathlib import Path

import polars as pl

from tasks import problems as problems
from tasks.ingest.column_names import SOURCE, in_one_spelling, in_our_names, wanted_columns
from tasks.ingest.readers import read
from tasks.ingest.rows import Reject
from tasks.problems import Problem
from tasks.shared.errors import InputError
from tasks.shared.files import write_json
from tasks.shared.params import Data, Ingest
from tasks.shared.stage import stage as stage

REASON = 200  # characters of a reason that a summary shows


def ingest(data: Data, params: Ingest, problem: Problem, out: Path, metrics: Path) -> None:
    """Write `rows.parquet` (the taken rows) and `rejected.jsonl` (the others, with file, row number and reason).

    rows.parquet: `id` (64 hex digits, the content hash: equal inputs, equal id), the problem's columns, the three source
    columns, and the other columns of the raw files. `columns.json`: under which name each of the files' columns stands there.
    Raises InputError when a column is missing or too many rows are rejected.
    """
    raw, rejects, notes = read(data, wanted_columns(data, problem))
    total = raw.height + len(rejects)
    named, names = in_our_names(raw, data, problem)
    labels, changed = in_one_spelling(named["label"])
    named = named.with_columns(labels)
    notes += changed
    good, reasons = problem.validate(named, params)
    rejects += [_reject(named, index, reason) for index, reason in sorted(reasons.items())]
    rows = good.with_columns(id=pl.Series([content_id(content) for content in problem.content(good)], dtype=pl.String))
    duplicated = rows.select(pl.struct(*problem.columns, "source_split").is_first_distinct().not_()).to_series()
    duplicates = int(duplicated.sum())
    if params.drop_duplicates:
        repeats = rows.filter(duplicated)
        rejects += [_reject(repeats, index, "duplicate: an earlier row of the same split says exactly this") for index in range(duplicates)]
        rows = rows.filter(~duplicated)
    _stop_if_too_many(rejects, total, params)

    _write(rows, rejects, names, problem, out)
    conflicting = rows.group_by("id").agg(pl.col("label").n_unique() > 1).get_column("label").sum()
    write_json(
        metrics,
        {
            "read": total,
            "rows": rows.height,
            "rejected": len(rejects),
            "duplicates": duplicates,
            "conflicting_labels": int(conflicting),
            **({"notes": notes} if notes else {}),
            **problem.describe(rows),
        },
    )
    print(
        f"{total} rows read, {rows.height} taken, {len(rejects)} rejected ({duplicates} duplicates), {conflicting} under more than one label",
        *notes,
        sep="\n",
    )


def _write(rows: pl.DataFrame, rejects: list[Reject], names: dict[str, str], problem: Problem, out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    first = ["id", *problem.columns, *SOURCE]
    rows.select(*first, pl.exclude(first)).write_parquet(out / "rows.parquet", statistics=False)
    write_json(out / "columns.json", names)
    rejects.sort(key=lambda reject: (reject.file, reject.row))
    with (out / "rejected.jsonl").open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(asdict(reject), ensure_ascii=False, sort_keys=True, default=str) + "\n" for reject in rejects)


def content_id(content: bytes) -> str:
    """Return the SHA-256 of a row's content as 64 hex digits."""
    return hashlib.sha256(content).hexdigest()


def _reject(table: pl.DataFrame, index: int, reason: str) -> Reject:
    row = table.row(index, named=True)
    values = {key: value for key, value in row.items() if key not in (*SOURCE, "id")}
    # JSON has no word for what is not finite
    endless = {key: str(value) for key, value in values.items() if isinstance(value, float) and not math.isfinite(value)}
    return Reject(row["source_file"], row["source_row"], reason, values | endless)


def _kind(reject: Reject) -> str:
    """Return what rejects are counted by: the column and its fault, without the value."""
    first, *more = reject.reason.split(": ")
    return first if first == "unreadable" else ": ".join([first, *more[:1]])


def _where(reject: Reject, kind: str) -> str:
    """Return where a reject stands, and the part of its reason that its kind does not say."""
    rest = " ".join(reject.reason.removeprefix(kind).split())
    return f"{reject.file} row {reject.row}{rest[:REASON]}"


def _stop_if_too_many(rejects: list[Reject], total: int, params: Ingest) -> None:
    faulty = [reject for reject in rejects if not reject.reason.startswith("duplicate")]
    if len(faulty) <= params.max_rejected * total:
        return
    kinds: dict[str, list[Reject]] = {}
    for reject in faulty:
        kinds.setdefault(_kind(reject), []).append(reject)
    summary = ", ".join(f"{len(group)} {kind} (first: {_where(group[0], kind)})" for kind, group in kinds.items())
    raise InputError(
        f"{len(faulty)} of {total} rows are rejected, more than ingest.max_rejected {params.max_rejected:.0%} allows: {summary}; "
        "mend the data or raise ingest.max_rejected"
    )
