"""What a trial's run has left in Git: its score on validation, and what must be as in every other trial."""

import math
from collections.abc import Iterable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flows.ledger.experiments import brought, commits_of, shared_with
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


def scored(checkout: Path, run: str, tried: Mapping[str, Any]) -> Scored:
    """Return what the run of a trial has scored on validation; its test scores are not looked at.

    tried: the values of what is searched, by the whole names of params. It is an experiment here, or at the
    Git remote where its worker has sent it. Raises UnreachableError when the remote does not answer,
    NotSentError when it does not have it, and InputError when nothing is shared, or the experiment is not
    whole.
    """
    record = _record(checkout, run, tried)
    if record is None and brought(checkout, run):
        record = _record(checkout, run, tried)
    if record is None:
        kind = InputError if shared_with(checkout) is None else NotSentError
        raise kind(
            f"the experiment {run} is not in this repository; let its worker send it (docs/sharing.md)"
        )
    validation = record.metric("train").get("validation")
    if not isinstance(validation, dict):
        raise InputError(f"the experiment {run} has no metrics/train.json; run the same again")
    # its name and direction alone
    headline = record.metric("evaluate").get("headline") or {}
    name, higher = str(headline.get("name")), bool(headline.get("higher_is_better", True))
    metric, higher = (name, higher) if name in validation else ("loss", False)
    score = _number(validation.get(metric))
    return Scored(str(record.commit), metric, score, higher, _held(record, tried), _curve(record, metric))


def _record(checkout: Path, run: str, tried: Mapping[str, Any]) -> Record | None:
    """Return what the run of a trial has left; None when it is not here.

    Others may have an experiment of its name: a trial of theirs.
    """
    for commit in commits_of(checkout, run):
        record = committed(checkout, commit, run)
        params = _params(record)
        if all(_is_tried(value, *_place(params, param)) for param, value in tried.items()):
            return record
    return None


def _is_tried(value: Any, section: Mapping[str, Any], field: str) -> bool:
    """Return whether a param is what a trial was given, as far as that is on record."""
    found = section.get(field, value)
    if isinstance(value, float) and isinstance(found, int | float):
        # by way of YAML
        return math.isclose(value, found)
    return bool(found == value)


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
    params = _params(record)
    sources: dict[str, str] = {}
    for name in STAGES:
        for dep in record.stages.get(name, {}).get("deps", ()):
            if dep["path"].startswith("tasks/"):
                sources[dep["path"]] = dep.get("md5", "")
    for param in (*searched, "model.revision"):
        section, field = _place(params, param)
        section.pop(field, None)
    return {"rows": record.outputs.get(SPLITS), "sources": sources, "params": params}


def _params(record: Record) -> dict[str, Any]:
    """Return what decided the score of a run, by sections, to be changed at will."""
    params: dict[str, Any] = {}
    for name in STAGES:
        params |= deepcopy(dict(record.stages.get(name, {}).get("params", {}).get("params.yaml", {})))
    return params


def _place(params: dict[str, Any], param: str) -> tuple[dict[str, Any], str]:
    """Return the section that holds a param, an empty one where there is none, and its name there."""
    *sections, field = param.split(".")
    for section in sections:
        inner = params.get(section)
        params = inner if isinstance(inner, dict) else {}
    return params, field
