"""What has changed since the last run: its scores beside ours, and what happened to the rows. Knows nothing of Prefect."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tasks import problems

if TYPE_CHECKING:
    from flows.engine.workspace import Workspace
    from flows.ledger.history import Record
    from flows.ledger.results import Experiment
    from flows.report.changes import Changes


@dataclass(frozen=True)
class Since:
    """The last run, and what is new since.

    rows, test: what happened to the rows that were taken, and to those of the test split; None when its own are no longer in the DVC cache.
    """

    name: str
    commit: str | None = None
    is_same: bool = False  # this run records the very same; then the rest is empty
    ingest: dict[str, Any] = field(default_factory=dict)
    scores: dict[str, Any] = field(default_factory=dict)
    rows: "Changes | None" = None
    test: "Changes | None" = None


def since(space: "Workspace", saved: "Experiment | None") -> Since | None:
    """Compare a run that is over with the last one; None when it is the first of its problem and data. A run that did nothing reads nothing."""
    if space.nothing_to_do:
        return Since("the run before", is_same=True)
    if saved and not saved.is_new:
        return Since(saved.name, saved.commit, is_same=True)
    from flows.ledger.history import last_run, this_run

    last, mine = last_run(space.root, saved, space.before), this_run(space.root)
    if last is None:
        return None
    if last.stages == mine.stages:
        return Since(last.name, last.commit, is_same=True)
    rows = _changes(space, last, mine, "data/ingested", "rows.parquet", examples=True)
    test = _changes(space, last, mine, "data/splits", "test.parquet")
    return Since(last.name, last.commit, ingest=last.metric("ingest"), scores=last.metric("evaluate"), rows=rows, test=test)


def _changes(space: "Workspace", last: "Record", mine: "Record", folder: str, file: str, *, examples: bool = False) -> "Changes | None":
    from polars.exceptions import PolarsError

    from flows.ledger.history import made
    from flows.report.changes import Changes, changes

    if last.outputs[folder] == mine.outputs[folder]:
        return Changes()
    before, now = (made(space.ledger, record, folder, file) for record in (last, mine))
    if before is None or now is None:
        return None
    try:
        return changes(before, now, problems.load(space.params.problem).show if examples else None)
    except (PolarsError, OSError):  # a damaged object must not fail a run that is done; `retrain check` names it
        return None
