"""What a trial's run has left in Git: its score on validation, and what must be as in every other trial."""

import math
from collections.abc import Iterable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flows.ledger.experiments import brought, commit_named, shared_with
from flows.ledger.history import Record, committed
from tasks.shared.errors import InputError

# the stages that decide a score on validation
STAGES = ("ingest", "split", "tokenize", "train")
SPLITS = "data/splits"


class NotSentError(InputError):
    """The Git remote does not have an experiment, which its worker may not have sent yet."""


@dataclass(frozen=True)
class Scored:
    """A trial's run: the commit that keeps it, and its score on validation; None where that is not defined.

    curve: the score at each evaluation, as far as it was defined there. held: what decided the score, but
    what was searched.
    """

    commit: str
    metric: str
    score: float | None
    higher_is_better: bool
    held: Mapping[str, Any]
    curve: Sequence[float] = ()


def scored(checkout: Path, run: str, searched: Iterable[str]) -> Scored:
    """Return what a run has scored on validation; its test scores are not looked at.

    It is an experiment here, or at the Git remote where its worker has sent it. Raises UnreachableError when
    the remote does not answer, NotSentError when it does not have it, and InputError when nothing is shared,
    or the experiment is not whole.
    """
    try:
        commit = commit_named(checkout, run)
    except InputError:
        if not brought(checkout, run):
            kind = InputError if shared_with(checkout) is None else NotSentError
            raise kind(
                f"the experiment {run} is not in this repository; let its worker send it (docs/sharing.md)"
            ) from None
        commit = commit_named(checkout, run)
    record = committed(checkout, commit, run)
    validation = record.metric("train").get("validation")
    if not isinstance(validation, dict):
        raise InputError(f"the experiment {run} has no metrics/train.json; run the same again")
    # its name and direction alone
    headline = record.metric("evaluate").get("headline") or {}
    name, higher = str(headline.get("name")), bool(headline.get("higher_is_better", True))
    metric, higher = (name, higher) if name in validation else ("loss", False)
    score = _number(validation.get(metric))
    return Scored(commit, metric, score, higher, _held(record, searched), _curve(record, metric))


def _curve(record: Record, metric: str) -> list[float]:
    """Return the scores at a run's evaluations, up to the first at which there is none."""
    evaluations = record.metric("train").get("evaluations")
    found: list[float] = []
    for scores in evaluations if isinstance(evaluations, list) else []:
        score = _number(scores.get(metric)) if isinstance(scores, dict) else None
        if score is None:
            break
        found.append(score)
    return found


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None


def _held(record: Record, searched: Iterable[str]) -> dict[str, Any]:
    """Return what must be as in other trials, by dvc.lock: rows, sources, params that are not searched."""
    params: dict[str, Any] = {}
    sources: dict[str, str] = {}
    for name in STAGES:
        stage = record.stages.get(name, {})
        params |= deepcopy(dict(stage.get("params", {}).get("params.yaml", {})))
        for dep in stage.get("deps", ()):
            if dep["path"].startswith("tasks/"):
                sources[dep["path"]] = dep.get("md5", "")
    for param in (*searched, "model.revision"):
        *sections, field = param.split(".")
        here: Any = params
        for section in sections:
            here = here.get(section, {})
        here.pop(field, None)
    return {"rows": record.outputs.get(SPLITS), "sources": sources, "params": params}
