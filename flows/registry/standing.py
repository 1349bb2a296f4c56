"""How the registry stands: who has each stage, since when, by whom and why, and what it scores."""

import math
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from flows.git.commands import git
from flows.ledger.history import Record, committed, newest
from flows.ledger.newer_data import Freshness, freshness
from flows.registry import looks
from flows.registry.tags import Assignment, Registry, read
from tasks.shared.errors import InputError
from tasks.shared.verdict import Interval, interval, score


@dataclass(frozen=True)
class Holder:
    """Who has a stage. by: who or what promoted it, as its tag says; who: whose tag it is.

    metric, score, interval: its headline on its own test rows; None where its record does not say.
    """

    version: str
    commit: str
    since: datetime | None
    by: str | None
    who: str
    why: str | None
    metric: str | None
    score: float | None
    interval: Interval | None
    data: Freshness


@dataclass(frozen=True)
class Standing:
    """A stage of a model, and who has it; looks: how often candidates of that name were looked at.

    looks is None, and fault says why, where they cannot be counted.
    """

    name: str
    stage: str
    champion: Holder | None
    looks: int | None
    fault: str | None = None


@dataclass(frozen=True)
class Kept:
    """A run that Git keeps, as an experiment or in the branch, and when it was committed."""

    name: str
    commit: str
    when: datetime


def last_kept(checkout: Path) -> Kept | None:
    """Return the newest complete run that Git keeps; None where there is none, or no commit yet."""
    with suppress(InputError):
        git(checkout, "rev-parse", "--verify", "HEAD")
        if (found := newest(checkout)) is not None:
            at = git(checkout, "show", "--no-patch", "--no-show-signature", "--format=%ct", str(found.commit))
            return Kept(found.name, str(found.commit), datetime.fromtimestamp(int(at), UTC))
    return None


def standing(checkout: Path, name: str, stage: str) -> list[Standing]:
    """Return how every stage stands that was ever given away, and this one of this name."""
    known = read(checkout)
    stages = {(name, stage), *((one.name, one.stage) for one in known.assignments)}
    return [_standing(checkout, known, *one) for one in sorted(stages)]


def _standing(checkout: Path, known: Registry, name: str, stage: str) -> Standing:
    holder = known.champion(name, stage)
    champion = None if holder is None else _champion(checkout, known, holder)
    try:
        seen = looks.seen(checkout, name).looks
    except InputError as error:
        return Standing(name, stage, champion, None, str(error))
    return Standing(name, stage, champion, seen[0].number if seen else 0)


def _champion(checkout: Path, known: Registry, holder: Assignment) -> Holder:
    version = known.version_at(holder.name, holder.commit)
    run = committed(checkout, holder.commit)
    metric = _headline(run)
    scores = run.metric("evaluate")
    return Holder(
        version=version.tag if version else holder.commit[:10],
        commit=holder.commit,
        since=holder.when,
        by=holder.record.by,
        who=holder.who,
        why=holder.record.reason or holder.record.sentence,
        metric=metric,
        score=score(scores, metric) if metric else None,
        interval=interval(scores, metric) if metric else None,
        data=freshness(checkout, run),
    )


def _headline(run: Record) -> str | None:
    """Return the name of the metric that leads a run's scores; None where its record is not whole."""
    scores = run.metric("evaluate") if run.is_complete() else {}
    lead = scores.get("headline")
    name = lead.get("name") if isinstance(lead, dict) else None
    return name if isinstance(name, str) and math.isfinite(score(scores, name)) else None
