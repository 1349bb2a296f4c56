"""`retrain status`."""

import json
import os
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from textwrap import shorten
from typing import TYPE_CHECKING, Any

from flows.cli.common import OK, AsJson
from tasks.shared.errors import InputError
from tasks.shared.markup import shown
from tasks.shared.verdict import number, spelled

if TYPE_CHECKING:
    from rich.table import Table

    from flows.registry.standing import Holder, Standing
    from flows.server.activity import Activity

# characters of what a run said
SAID = 240
UNKNOWN = "Of runs, schedules, workers and questions nothing is known"


def status(*, as_json: AsJson = False) -> int:
    """Show what is in production and what goes on, in one screen; nothing is run or changed.

    The champion of each stage, since when, by whom and why, its score, how often its test rows have been
    looked at, and whether there is newer data; of the Prefect server the last and next runs, the workers, and
    what waits for somebody's answer. Without a server all else is shown.

    Examples: `retrain status`, `retrain status --json`.

    Parameters
    ----------
    as_json
        Print JSON.
    """
    from flows.engine import workspace
    from flows.git.commands import refuse_without_git
    from flows.registry.standing import last_kept, standing
    from tasks.shared.params_file import PARAMS, load

    checkout = workspace.root()
    os.chdir(checkout)
    refuse_without_git(checkout)
    params = load(checkout / PARAMS)
    stages = standing(checkout, params.registered_name, params.promote.stage)
    kept = last_kept(checkout)
    activity, fault = _activity(checkout)
    if as_json:
        server = {"fault": fault, **(asdict(activity) if activity else {})}
        told = {
            "stages": [asdict(one) for one in stages],
            "last_kept": kept and asdict(kept),
            "server": server,
        }
        print(json.dumps(told, indent=2, default=str))
        return OK
    _show_stages(stages)
    if kept is not None:
        _print(f"\nThe newest run that Git keeps: {kept.name}, {_moment(kept.when)}.", soft_wrap=True)
    if activity is not None:
        _show_activity(activity)
    else:
        _print(f"\n{fault}.", soft_wrap=True)
    return OK


def _activity(checkout: Path) -> "tuple[Activity | None, str | None]":
    """Return what goes on at the server; or why that is not known, in a sentence."""
    from flows.server import configured

    server, fault = configured.found(checkout)
    if fault is not None:
        return None, f"{UNKNOWN}: {fault}"
    if server is None:
        return None, f"{UNKNOWN}: no Prefect server is configured here; `retrain up` starts one"
    # Prefect is imported only where there is somebody to ask
    from flows.server.activity import activity

    try:
        return activity(), None
    except InputError as error:
        return None, f"{UNKNOWN}: {error}"


def _show_stages(stages: "list[Standing]") -> None:
    table = _table("stage", "version", "since", "by", "score", "looks")
    for one in stages:
        looks = "?" if one.looks is None else str(one.looks)
        cells = _champion(one.champion) if one.champion else ("nobody", "", "", "")
        _add(table, f"{one.name}#{one.stage}", *cells, looks)
    _print(table)
    for one in stages:
        if one.champion is not None:
            why = one.champion.why or "its tag does not say why"
            _print(f"\n{one.champion.version}: {why}", soft_wrap=True)
            _print(f"Its data: {one.champion.data.sentence}.", soft_wrap=True)
        if one.fault is not None:
            _print(f"\nLooks of {one.name}: {one.fault}.")
    if not any(one.champion for one in stages):
        _print("\nNo model is in production: `retrain promote RUN` gives one the stage.")


def _champion(its: "Holder") -> tuple[str, str, str, str]:
    score = "unknown"
    if its.metric is not None and its.score is not None:
        ends = f" ({spelled(its.interval)})" if its.interval else ""
        score = f"{its.metric} {number(its.score)}{ends}"
    who = its.who.partition(" <")[0]
    by = f"{who} ({its.by})" if its.by else who
    return its.version.rpartition("@")[2], _moment(its.since), by, score


def _show_activity(its: "Activity") -> None:
    for run in its.waiting:
        until = f" before {_moment(run.until)}" if run.until else ""
        _print(f"\nWaits for you: {run.of}, run {run.name}: press Resume{until} at {run.url}", soft_wrap=True)
    last = _table("last runs", "of", "state", "when", "what it said")
    for run in its.last:
        said = shorten(run.said, SAID, placeholder=" ...")
        _add(last, run.name, run.of, run.state, _moment(run.when), said)
    _print_rows(last, "No run has begun yet.")
    coming = _table("next runs", "of", "state", "when")
    for run in its.next:
        _add(coming, run.name, run.of, run.state, _moment(run.when))
    _print_rows(coming, "No run is scheduled.")
    if its.paused:
        _print(f"\nPaused: {', '.join(its.paused)}.")
    workers = _table("workers", "pool", "status", "last heard of")
    for worker in its.workers:
        _add(workers, worker.name, worker.pool, worker.status.lower(), _moment(worker.last_heard_of))
    _print_rows(workers, "No worker has reported: nothing runs until one is started (`make up`).")


def _moment(when: datetime | None) -> str:
    """Return a time on this machine's clock, to the minute."""
    return f"{when.astimezone():%Y-%m-%d %H:%M}" if when else ""


def _table(*heads: str) -> "Table":
    from rich.table import Table

    return Table(*heads, box=None)


def _add(table: "Table", *cells: str) -> None:
    """Add a row of what commits and runs say of themselves."""
    table.add_row(*map(shown, cells))


def _print_rows(table: "Table", otherwise: str) -> None:
    _print()
    _print(table if table.rows else otherwise)


def _print(*what: Any, soft_wrap: bool = False) -> None:
    from flows.report.console import printing

    texts = [shown(one) if isinstance(one, str) else one for one in what]
    printing().print(*texts, soft_wrap=soft_wrap)
