"""The report that a run leaves in the Prefect UI, and the links between the run and its experiment."""

import shlex
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any, cast

from prefect import runtime
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import FlowRun, State
from prefect.deployments import run_deployment
from prefect.exceptions import ObjectNotFound
from prefect.states import Completed
from prefect.utilities.urls import url_for

from flows.engine.stage import Run
from flows.engine.workspace import STAGES
from flows.ledger.results import Experiment
from flows.registry import policy
from flows.registry.policy import Outcome
from flows.report import events
from flows.report.artifacts import pictures, publish_document
from flows.report.comparison import LastRun, compare
from flows.report.costs import likely
from flows.report.summary import Summary, cost_cells, measured
from tasks.shared.errors import without_password
from tasks.shared.markup import Markdown, code, plain
from tasks.shared.params import Params
from tasks.shared.paths import Paths
from tasks.shared.samples import read_samples
from tasks.shared.templates import render
from tasks.shared.verdict import (
    Scores,
    beside,
    beside_baselines,
    beside_champion,
    headline,
    interval,
    metrics,
    number,
    score,
    spelled,
)

# the deployment that asks somebody
ASKS = "promote/promote"
# labels that are listed
LABELS = 15
TEMPLATE = Path(__file__).parent / "templates/report.md.j2"


def publish(run: Run) -> State[Summary]:
    """Save an isolated run as an experiment, leave the report as an artifact, and return how the run ended.

    The state has it in one line as its message, and all of it as its data.
    """
    url = url_for("flow-run", obj_id=runtime.flow_run.id) or "It ran without a server that stays."
    message = f"retrain: flow run {run.space.name} ({runtime.flow_run.id})\n\n{without_password(url)}"
    saved = run.space.save(message)
    if saved is not None:
        with get_client(sync_client=True) as client:
            flow_run = client.read_flow_run(runtime.flow_run.id)
            client.update_flow_run(flow_run.id, tags={*flow_run.tags, saved.tag})
    results = {name: str(result) for name, result in run.results.items()}
    last = compare(run.space, saved)
    outcome = policy.follow(run.space.home, saved, run.space.params.promote, run.space.say)
    if outcome is not None and saved is not None:
        outcome = told(outcome, saved, run.space.params)
    known = likely(run.space.home, run.space.root, run.space.params)
    its = measured(run.space.root)
    summary = Summary(results, run.seconds, its, saved, last, outcome, run.costs, known)
    document = markdown(summary, runtime.flow_run.name, run.space.params, Paths(run.space.root).plots)
    publish_document("report", document, summary.sentence)
    return Completed(message=summary.sentence, data=summary)


def told(outcome: Outcome, saved: Experiment, params: Params) -> Outcome:
    """Have somebody asked who approves a model that waits, and send an event of what was decided.

    A night that decides nothing, or nothing new, sends none.
    """
    name, stage = params.registered_name, params.promote.stage
    version = outcome.promoted.version.tag if outcome.promoted else ""
    if outcome.waits and (asked := _asked(saved)) is not None:
        # its own run sends the event, once it waits
        return replace(outcome, sentence=f"{outcome.proof} {asked}")
    if (what := news(outcome, saved)) is not None:
        events.send(what, name, stage, outcome.sentence, run=saved.name, version=version, by=policy.BY)
    return outcome


def news(outcome: Outcome, saved: Experiment) -> events.What | None:
    """Return which event says what was decided; None where that is nothing, or known."""
    found = outcome.decision
    if outcome.promoted:
        return "promoted"
    if found is None or found.verdict == "same":
        return None
    # the night that made the model may have been unable to decide: what happens once is the look
    is_new = saved.is_new if found.is_new is None else found.is_new
    return ("waiting" if outcome.waits else "refused") if is_new else None


def _asked(saved: Experiment) -> str | None:
    """Have promote/promote ask somebody, once a model; return where to answer; None: it is not there."""
    wanted = {"run": saved.name, "ask": True}
    once: Any = {"timeout": 0, "as_subflow": False, "idempotency_key": f"{ASKS} {saved.commit}"}
    try:
        asked = cast(FlowRun, run_deployment(ASKS, parameters=wanted, **once))
    except ObjectNotFound:
        # no `make up` here: it is approved by hand
        return None
    if asked.state is not None and asked.state.is_final():
        over = f"Run {asked.name} of {ASKS} has asked, and is over ({asked.state_name})"
        return f"{over}: `retrain promote {shlex.quote(saved.name)}`."
    where = url_for("flow-run", obj_id=asked.id) or f"run {asked.name} of {ASKS}"
    return f"It waits for somebody to approve it: press Resume at {where}"


def markdown(summary: Summary, name: str, params: Params, plots: Path) -> str:
    """Return the report of the run of that name as Markdown, the pictures below `plots` inside."""
    scores, last = summary.metrics["evaluate"], summary.last_run
    return render(
        TEMPLATE,
        name=name,
        params=params,
        metrics=summary.metrics,
        results=summary.results,
        seconds=summary.seconds,
        costs={name: cost_cells(summary, name) for name in summary.results},
        saved=summary.saved,
        last=last,
        last_name=last and _name(last),
        warnings=[*chain.from_iterable(summary.metrics[stage].get("warnings", ()) for stage in STAGES)],
        labels=_labels(summary.metrics["ingest"], last),
        most_labels=LABELS,
        columns=_columns(scores, last),
        score_rows=_score_rows(scores, last),
        headline=headline(scores)[0],
        slices=_slices(scores),
        pictures=pictures(plots),
        has_mistakes=(plots / "mistakes.csv").exists(),
        samples=read_samples(plots / "samples.csv"),
        beside=beside,
        beside_baselines=beside_baselines,
        outcome=summary.outcome,
        beside_champion=beside_champion(summary.metrics["judge"]),
        command=command,
    )


def command(words: str, name: str) -> Markdown:
    """Return a command on an experiment, to be pasted into a shell: others may have chosen its name."""
    return code(f"{words} {shlex.quote(name)}")


def _name(last: LastRun) -> Markdown:
    return code(last.name) if last.commit else plain(last.name)


def _labels(ingested: dict[str, Any], last: LastRun | None) -> list[tuple[str, int, int]]:
    """Return the first labels with their rows, and by how many they have grown; then those that are gone.

    Empty for a problem without labels.
    """
    counts = ingested.get("labels", {})
    earlier = last.ingest.get("labels", counts) if last else counts
    shown = dict(list(counts.items())[:LABELS])
    shown |= {label: 0 for label in earlier if label not in counts}
    return [(label, rows, rows - earlier.get(label, 0)) for label, rows in shown.items()]


def _columns(scores: Scores, last: LastRun | None) -> list[str]:
    """Return the heads of the columns beside the metrics' names."""
    beside_last = [_name(last), "difference"] if last and last.scores else []
    return ["model", *beside_last, *scores["baselines"]]


def _score_rows(scores: Scores, last: LastRun | None) -> list[list[str]]:
    """Return a row per metric: the model's score, the last run's, the difference, the baselines'."""
    rows = []
    for name in metrics(scores):
        row: list[str] = [code(name), _cell(scores, name, "**")]
        if last and last.scores:
            difference = score(scores, name) - score(last.scores, name)
            row += [_cell(last.scores, name), number(difference, "+") if name in last.scores else ""]
        row += [_cell(baseline, name) for baseline in scores["baselines"].values()]
        rows.append(row)
    return rows


def _slices(scores: Scores) -> list[tuple[str, str, int, Markdown]]:
    """Return each column that was looked at value by value: its value, rows, and the headline on them."""
    name, _ = headline(scores)
    found = []
    for row in scores.get("slices", ()):
        ends = [row[f"{name}_low"], row[f"{name}_high"]]
        known = {} if row[name] is None else {name: row[name]}
        known |= {} if None in ends else {"interval": {name: ends}}
        found.append((row["slice"], row["value"], row["rows"], _cell(known, name)))
    return found


def _cell(scores: Scores, name: str, mark: str = "") -> Markdown:
    """Return a score, and below it its interval, if it has one; empty when there is no such score."""
    if name not in scores:
        return Markdown()
    ends = interval(scores, name)
    below = f"<br>{spelled(ends)}" if ends else ""
    return Markdown(f"{mark}{number(score(scores, name))}{mark}{below}")
