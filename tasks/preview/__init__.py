"""What a run would make of its data: ingest and split as they are, in a folder that is gone afterwards."""

import io
import json
import tempfile
from collections.abc import Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import polars as pl

from tasks import problems
from tasks.ingest import fault_of, ingest
from tasks.ingest.column_names import SOURCE
from tasks.ingest.rows import Reject
from tasks.preview.tokens import tokens
from tasks.problems import Problem
from tasks.shared import columns
from tasks.shared.errors import InputError
from tasks.shared.files import read_json
from tasks.shared.params import Params
from tasks.shared.params.split import SPLITS
from tasks.shared.paths import Paths
from tasks.split import split


def preview(params: Params, num_rows: int) -> dict[str, Any]:
    """Return what a run reads and rejects, what columns hold, how rows are split, as JSON can hold it.

    num_rows: how many of the first rows are shown. `stops`: with which sentences a run would stop. Raises
    InputError, as ingest does, where there is nothing to show.
    """
    problem = problems.load(params.problem, params.own)
    with tempfile.TemporaryDirectory(prefix="retrain-preview-") as folder, redirect_stdout(io.StringIO()):
        paths = Paths(Path(folder))
        stops = _ingested(params, problem, paths)
        taken = pl.read_parquet(paths.ingested / "rows.parquet")
        counts, names = read_json(paths.metric("ingest")), read_json(paths.ingested / "columns.json")
        rejects = _rejects(paths.ingested / "rejected.jsonl")
        sides, stopped = _split(params, problem, paths)
        stops += stopped
        encoded = None if stops else tokens(params, problem, paths)
    its = columns.present(problem.columns, params.data.columns)
    shown = taken.head(num_rows)
    if (media := columns.media(its)) is not None:
        # nobody recognises a hash
        shown = shown.with_columns(pl.col(columns.SOURCE_MEDIA).alias(media))
    shown = shown.select(*its, "source_file", "source_row")
    return {
        "data": params.data.path,
        "problem": params.problem,
        **{name: counts[name] for name in ("read", "rows", "rejected", "duplicates", "conflicting_labels")},
        "files": _files(taken, rejects),
        "notes": [*counts.get("notes", []), *counts.get("warnings", [])],
        "reasons": _reasons(rejects),
        "columns": _columns(problem, names, counts["columns"]),
        "others": [name for name, here in names.items() if here not in its],
        "labels": counts.get("labels", {}),
        "split": sides,
        "tokens": encoded,
        "first_rows": json.loads(json.dumps(shown.to_dicts(), default=str)),
        "stops": stops,
    }


def _ingested(params: Params, problem: Problem, paths: Paths) -> list[str]:
    """Ingest; return why a run would stop there, where it only has more rejected rows than it is to have."""
    try:
        ingest(params.data, params.ingest, problem, paths)
    except InputError as error:
        # those rows are what people want to see
        lenient = params.ingest.model_copy(update={"max_rejected": 1.0})
        try:
            ingest(params.data, lenient, problem, paths)
        except InputError:
            raise error from None
        return [f"ingest: {error}"]
    return []


def _split(params: Params, problem: Problem, paths: Paths) -> tuple[dict[str, Any], list[str]]:
    """Split; return the number of rows of each part, and why a run would stop there."""
    try:
        split(params.split, problem.columns, paths)
    except InputError as error:
        return {}, [f"split: {error}"]
    found = read_json(paths.metric("split"))
    named = ("in_train_and_test", "warnings")
    return {
        **{name: found[name] for name in SPLITS},
        **{name: found[name] for name in named if name in found},
    }, []


def _rejects(file: Path) -> list[Reject]:
    with file.open(encoding="utf-8") as lines:
        return [Reject(**json.loads(line)) for line in lines]


def _files(taken: pl.DataFrame, rejects: Sequence[Reject]) -> list[dict[str, Any]]:
    """Return how many rows of each file are taken and rejected."""
    found: dict[str, dict[str, Any]] = {}
    for file, count in taken.group_by("source_file", maintain_order=True).len().iter_rows():
        found[file] = {"file": file, "taken": count, "rejected": 0}
    for reject in rejects:
        found.setdefault(reject.file, {"file": reject.file, "taken": 0, "rejected": 0})["rejected"] += 1
    return [its for _, its in sorted(found.items())]


def _reasons(rejects: Sequence[Reject]) -> list[dict[str, Any]]:
    """Return why rows are rejected, what is most frequent first, with the first row of each reason."""
    found: dict[str, dict[str, Any]] = {}
    for reject in rejects:
        first = {"file": reject.file, "row": reject.row, "said": reject.reason, "values": reject.values}
        found.setdefault(fault_of(reject), {"reason": fault_of(reject), "rows": 0, "first": first})[
            "rows"
        ] += 1
    return sorted(found.values(), key=lambda its: (-its["rows"], its["reason"]))


def _columns(problem: Problem, names: dict[str, str], described: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the problem's columns: what files call them, their kinds, and what they hold."""
    in_files = {here: name for name, here in names.items() if here not in SOURCE}
    found = []
    for name, holds in described.items():
        column = problem.columns[name]
        found.append(
            {
                "column": name,
                "in_files": in_files[name],
                "kind": column.kind,
                "role": column.role,
                "holds": holds,
            }
        )
    return found
