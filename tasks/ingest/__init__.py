"""Read the raw files, turn away the rows that cannot be used, and write one validated table."""

import hashlib
import json
import math
from collections.abc import Iterator
from dataclasses import asdict
from functools import partial
from typing import Any

import polars as pl

from tasks.ingest import media
from tasks.ingest.column_names import READ, SOURCE, in_one_spelling, in_our_names, wanted
from tasks.ingest.readers import read
from tasks.ingest.rows import Reject
from tasks.problems import Problem, refuse_unknown_columns
from tasks.shared import columns, tables
from tasks.shared.columns import Columns
from tasks.shared.engine import LOCAL, Engine
from tasks.shared.errors import InputError
from tasks.shared.files import write_json
from tasks.shared.params import Data, Ingest
from tasks.shared.paths import Paths
from tasks.shared.stage import warn
from tasks.shared.values import as_text

# rows whose ids are computed together
AT_ONCE = 65_536
# labels that a sentence lists
SHOWN = 40
# characters of a reason that a summary shows
REASON = 200
REPEATED = "duplicate: an earlier row of the same split says exactly this"


def ingest(data: Data, params: Ingest, problem: Problem, paths: Paths, engine: Engine = LOCAL) -> None:
    """Write `rows.parquet` (the taken rows) and `rejected.jsonl` (the others, with place and reason).

    rows.parquet: `id` (64 hex digits, the content hash: equal inputs, equal id), the problem's columns, the
    three source columns, and the other columns of the raw files. `columns.json`: under which name each of the
    files' columns stands there. Raises InputError when a column is missing or too many rows are rejected.
    """
    refuse_unknown_columns(data.columns, problem)
    its = columns.present(problem.columns, data.columns)
    raw, rejects, notes = read(data, wanted(data, problem, paths.media), engine)
    named, names = in_our_names(raw, data, problem.columns)
    named, changed = in_one_spelling(named, its)
    named = _with_labels(named, its, params)
    total = named.height + len(rejects)
    rows, faulty, kept = _usable(named, its, data, params, problem, paths, engine)
    rejects, notes = [*rejects, *faulty], [*notes, *changed, *kept]
    rows = _with_ids(rows, its, engine)
    repeats = _repeats(rows, its)
    if params.drop_duplicates:
        rejects += _rejects(rows, pl.select(pl.when(repeats).then(pl.lit(REPEATED))).to_series())
        rows = rows.filter(~repeats)
    _stop_if_too_many(rejects, total, params)
    usable = rows.height
    rows = _some(rows, params.max_rows)
    sampled = f"ingest.max_rows: {rows.height} of {usable} usable rows are taken, by their content ids"
    warnings = warn([sampled] if rows.height < usable else [])

    _write(rows, rejects, names, its, paths)
    counts = {
        "read": total,
        "rows": rows.height,
        "rejected": len(rejects),
        "duplicates": int(repeats.sum()),
        "conflicting_labels": _num_conflicting(rows, its),
    }
    noted = {"notes": notes} if notes else {}
    described = {"columns": _described(rows, its)}
    found = {**counts, **noted, **_rows_per_label(rows, its), **described, **warnings}
    write_json(paths.metric("ingest"), found)
    rejected = f"{len(rejects)} rejected ({counts['duplicates']} duplicates)"
    conflicting = f"{counts['conflicting_labels']} under more than one label"
    print(f"{total} rows read, {rows.height} taken, {rejected}, {conflicting}", *notes, sep="\n")


def _usable(
    named: pl.DataFrame,
    its: Columns,
    data: Data,
    params: Ingest,
    problem: Problem,
    paths: Paths,
    engine: Engine,
) -> tuple[pl.DataFrame, list[Reject], list[str]]:
    """Return the rows all of whose values can be used, parsed; the others; and notes of what was changed.

    The files that rows name are kept in `paths.media`.
    """
    column = columns.media(its)
    notes: list[str] = []
    reasons = columns.faults(named, its, params)
    if column is not None:
        missing = media.without_file(named, column)
        reasons = missing.zip_with(missing.is_not_null(), reasons)
    rejects = _rejects(named, reasons)
    rows = named.filter(reasons.is_null())
    paths.media.mkdir(parents=True, exist_ok=True)
    if column is not None:
        rows, faulty, notes = media.take_in(rows, its, data, params, problem, paths.media, engine)
        rejects += _rejects(rows, faulty)
        rows = rows.filter(faulty.is_null())
    rows = columns.parse(rows, its)
    reasons = problem.reject(rows, params)
    return rows.filter(reasons.is_null()), [*rejects, *_rejects(rows, reasons)], notes


def _described(rows: pl.DataFrame, its: Columns) -> dict[str, dict[str, Any]]:
    """Return what is worth watching from run to run, of each column."""
    described = {name: columns.kind(column).describe(rows[name]) for name, column in its.items()}
    if (column := columns.media(its)) is not None:
        described[column] |= media.facts(rows, its)
    return described


def _with_labels(named: pl.DataFrame, its: Columns, params: Ingest) -> pl.DataFrame:
    """Return the rows with the labels that ingest.labels names; all, if it names none."""
    if not params.labels:
        return named
    target = next((name for name in columns.targets(its) if its[name].kind == "category"), None)
    if target is None:
        raise InputError(
            "ingest.labels: rows of this problem have no column with one label each; leave it empty"
        )
    chosen = named.filter(named[target].str.strip_chars().is_in(params.labels))
    if not chosen.height:
        has = ", ".join(sorted(named[target].drop_nulls().unique().to_list())[:SHOWN])
        raise InputError(f"ingest.labels: no row has one of {', '.join(params.labels)}; there are {has}")
    return chosen


def _with_ids(rows: pl.DataFrame, its: Columns, engine: Engine) -> pl.DataFrame:
    ids = list(engine.map(partial(_ids, its), rows.select(*its).iter_slices(AT_ONCE)))
    return rows.with_columns(id=pl.Series(ids, dtype=pl.String))


def _ids(its: Columns, rows: pl.DataFrame) -> Iterator[str]:
    return map(content_id, columns.content(rows, its))


def _repeats(rows: pl.DataFrame, its: Columns) -> pl.Series:
    """Return whether an earlier row of the same split says exactly the same."""
    texts = pl.DataFrame([as_text(rows[name]) for name in (*its, "source_split")])
    return ~texts.to_struct().is_first_distinct()


def _some(rows: pl.DataFrame, most: int | None) -> pl.DataFrame:
    """Return the rows with the smallest content ids, in their order: no more than `most`.

    An id is a hash, so that is a random sample, and nearly the same one when other rows come.
    """
    if most is None or rows.height <= most:
        return rows
    smallest = rows.select(place=pl.arg_sort_by("id", maintain_order=True))["place"].head(most)
    return rows[smallest.sort()]


def _num_conflicting(rows: pl.DataFrame, its: Columns) -> int:
    """Return how many contents stand there with more than one answer."""
    answers = rows.select("id", said=columns.said(rows, its)).group_by("id").n_unique()
    return answers.filter(pl.col("said") > 1).height


def _rows_per_label(rows: pl.DataFrame, its: Columns) -> dict[str, dict[str, int]]:
    """Return how many rows have each label, the most frequent first; nothing where targets are no labels."""
    found = columns.labels(rows, its).values()
    return {"labels": columns.rows_per_label(pl.concat(found), by_rows=True)} if found else {}


def _write(
    rows: pl.DataFrame,
    rejects: list[Reject],
    names: dict[str, str],
    its: Columns,
    paths: Paths,
) -> None:
    out = paths.ingested
    out.mkdir(parents=True, exist_ok=True)
    if (column := columns.media(its)) is not None:
        media.keep_only(rows[column], paths.media)
    first = ["id", *its, *SOURCE]
    tables.write(rows.select(*first, pl.exclude(first)), out / "rows.parquet")
    write_json(out / "columns.json", names)
    rejects.sort(key=lambda reject: (reject.file, reject.row))
    with (out / "rejected.jsonl").open("w", encoding="utf-8") as file:
        for reject in rejects:
            file.write(json.dumps(asdict(reject), ensure_ascii=False, sort_keys=True, default=str) + "\n")


def content_id(content: bytes) -> str:
    """Return the SHA-256 of a row's content as 64 hex digits."""
    return hashlib.sha256(content).hexdigest()


def _rejects(table: pl.DataFrame, reasons: pl.Series) -> list[Reject]:
    """Return the rows that have a reason not to be taken."""
    found = []
    refused = table.filter(reasons.is_not_null())
    for row, reason in zip(refused.iter_rows(named=True), reasons.drop_nulls(), strict=True):
        values = {key: value for key, value in row.items() if key not in (*READ, "id")}
        # JSON has no word for what is not finite
        for key, value in values.items():
            if isinstance(value, float) and not math.isfinite(value):
                values[key] = str(value)
        found.append(Reject(row["source_file"], row["source_row"], reason, values))
    return found


def fault_of(reject: Reject) -> str:
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
        kinds.setdefault(fault_of(reject), []).append(reject)
    said = [f"{len(group)} {kind} (first: {_where(group[0], kind)})" for kind, group in kinds.items()]
    more = f"more than ingest.max_rejected {params.max_rejected:.0%} allows: {', '.join(said)}"
    remedy = "mend the data or raise ingest.max_rejected"
    raise InputError(f"{len(faulty)} of {total} rows are rejected, {more}; {remedy}")
