"""What has changed since the last run: its scores beside ours, and what happened to the rows."""

from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from tasks import problems

if TYPE_CHECKING:
    from flows.engine.workspace import Workspace
    from flows.ledger.history import Record
    from flows.ledger.results import Experiment
    from flows.report.changes import Changes


@dataclass(frozen=True)
class LastRun:
    """The run that this one is compared with.

    is_same: this run records the very same; then the rest is empty. ingest, scores: what metrics/*.json
    held. rows, test: what has happened since to the rows that ingest took, and to those of the test split;
    None when its own are no longer in the DVC cache.
    """

    name: str
    commit: str | None = None
    is_same: bool = False
    ingest: dict[str, Any] = field(default_factory=dict)
    scores: dict[str, Any] = field(default_factory=dict)
    rows: "Changes | None" = None
    test: "Changes | None" = None


def compare(space: "Workspace", saved: "Experiment | None") -> LastRun | None:
    """Compare a run that is over with the last one; None when it is the first of its problem and data."""
    if space.found_unchanged:
        return LastRun("the run before", is_same=True)
    if saved and not saved.is_new:
        return LastRun(saved.name, saved.commit, is_same=True)
    from flows.ledger.history import last_run, this_run

    last, mine = last_run(space.root, saved, space.before), this_run(space.root)
    if last is None:
        return None
    if last.making == mine.making:
        return LastRun(last.name, last.commit, is_same=True)
    rows = _changes(space, last, mine, "data/ingested", "rows.parquet", examples=True)
    test = _changes(space, last, mine, "data/splits", "test.parquet")
    ingest, scores = last.metric("ingest"), last.metric("evaluate")
    return LastRun(last.name, last.commit, ingest=ingest, scores=scores, rows=rows, test=test)


def _changes(
    space: "Workspace",
    last: "Record",
    mine: "Record",
    folder: str,
    file: str,
    *,
    examples: bool = False,
) -> "Changes | None":
    from polars.exceptions import PolarsError

    from flows.ledger.history import cached_file
    from flows.report.changes import Changes, changes
    from tasks.shared.columns import shown, targets

    if last.outputs[folder] == mine.outputs[folder]:
        return Changes()
    before, now = cached_file(space.ledger, last, folder, file), cached_file(space.ledger, mine, folder, file)
    if before is None or now is None:
        return None
    problem = problems.load(space.params.problem, space.params.own)
    try:
        show = partial(shown, columns=problem.columns) if examples else None
        return changes(before, now, targets(problem.columns), show)
    except (PolarsError, OSError):
        # a damaged object must not fail a run that is done; `retrain check` names it
        return None
