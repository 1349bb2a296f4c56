"""Read the raw files, turn away the rows that cannot be used, and write one validated table."""

import hashlib
import json
import math
import re
from dataclasses import asdict
from pathlib import Path

import polars as pl

from tasks import problems
from tasks.errors import InputError, did_you_mean
from tasks.files import write_json
from tasks.params import Data, Ingest
from tasks.problems import Problem
from tasks.readers import RAW, SOURCE, kept_name, read
from tasks.rows import Reject
from tasks.stage import stage
from tasks.values import as_text

SPELLINGS = 5  # labels that a note lists
WHOLE = re.compile(r"-?\d+(\.0+)?")
REASON = 200  # characters of a reason that a summary shows


def ingest(data: Data, params: Ingest, problem: Problem, out: Path, metrics: Path) -> None:
    """Write `rows.parquet` (the taken rows) and `rejected.jsonl` (the others, with file, row number and reason).

    rows.parquet: `id` (64 hex digits, the content hash: equal inputs, equal id), the problem's columns, the three source columns,
    and every other column of the raw files. `columns.json`: under which name each of the files' columns stands there.
    Raises InputError when a column is missing or too many rows are rejected.
    """
    raw, rejects, notes = read(data, {data.columns.get(column, column).strip(): column for column in problem.columns})
    total = raw.height + len(rejects)
    names = _names_in_table(raw, _chosen(raw, data, problem), problem)
    named = raw.rename({column: names[name] for name, column in _names_in_files(raw).items()})
    named = named.with_columns(as_text(named[column]) for column in problem.columns)
    labels, one_spelling = _labels(named["label"])
    named = named.with_columns(labels)
    notes += one_spelling
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

    out.mkdir(parents=True, exist_ok=True)
    first = ["id", *problem.columns, *SOURCE]
    rows.select(*first, pl.exclude(first)).write_parquet(out / "rows.parquet", statistics=False)
    write_json(out / "columns.json", names)
    rejects.sort(key=lambda reject: (reject.file, reject.row))
    with (out / "rejected.jsonl").open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(asdict(reject), ensure_ascii=False, sort_keys=True, default=str) + "\n" for reject in rejects)
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


def _labels(column: pl.Series) -> tuple[pl.Series, list[str]]:
    """Return the labels without blanks around them, whole numbers and truth values in one spelling each, and what was changed.

    A program that once meets a missing value writes 1.0 for 1 from there on: two spellings in one table are one label.
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


def content_id(content: bytes) -> str:
    """Return the SHA-256 of a row's content as 64 hex digits."""
    return hashlib.sha256(content).hexdigest()


def _chosen(raw: pl.DataFrame, data: Data, problem: Problem) -> dict[str, str]:
    """Return the problem's column for each of the file's columns that `data.columns`, or its own name, makes one."""
    problems.refuse_unknown_columns(data.columns, problem)
    files = _names_in_files(raw)
    chosen: dict[str, str] = {}
    for column in problem.columns:
        name = data.columns.get(column, column).strip()
        if name not in files:
            raise InputError(
                f"{data.path}: there is no column '{name}'{did_you_mean(name, files) or '.'} It has {', '.join(files)}; "
                f"say which one is the {column} with --data.columns.{column} NAME"
            )
        if name in chosen:
            raise InputError(f"data.columns: '{name}' cannot be both {chosen[name]} and {column}; name a column for each")
        chosen[name] = column
    return chosen


def _names_in_files(raw: pl.DataFrame) -> dict[str, str]:
    """Return the name in `raw` for each column name in the files."""
    names = {}
    for column in raw.columns:
        if column not in SOURCE:
            own = column.removeprefix(RAW)
            names[own if kept_name(own, SOURCE) == column else column] = column
    return names


def _names_in_table(raw: pl.DataFrame, chosen: dict[str, str], problem: Problem) -> dict[str, str]:
    """Return the name in rows.parquet for each column name in the files: the problem's, its own, or raw_... beside ours."""
    ours = ("id", *problem.columns, *SOURCE)
    return {name: chosen.get(name) or kept_name(name, ours) for name in _names_in_files(raw)}


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


if __name__ == "__main__":
    with stage("ingest") as params:
        ingest(params.data, params.ingest, problems.load(params.problem), Path("data/ingested"), Path("metrics/ingest.json"))
