"""Pruning: a sweep's trial ends before its time when others had scored better on validation by then."""

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any
from uuid import UUID

from prefect.artifacts import create_table_artifact
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterFlowRunId,
    ArtifactFilterKey,
    FlowRunFilter,
    FlowRunFilterId,
)
from pydantic import BaseModel, ConfigDict, Field

from tasks.shared.errors import InputError
from tasks.shared.locks import alone_if_free
from tasks.shared.markup import plain
from tasks.shared.verdict import number

# the state of a run that has ended so, and the artifact that has its scores
PRUNED, CURVE = "Pruned", "validation"


class Bounds(BaseModel):
    """What a training's best score so far must reach at each of its evaluations, lest it ends.

    A trial takes its bounds along, so that it ends at the same evaluation on whatever machine it runs, also
    when the sweep is not there any more. They are in no key: a training that ends so leaves nothing.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    metric: str = Field(description="The score on validation.")
    higher_is_better: bool = Field(description="Whether more of it is better.")
    reach: list[Annotated[float, Field(allow_inf_nan=False)] | None] = Field(
        description="The bound at each evaluation, from the first one; null: none."
    )


class PrunedError(InputError):
    """A training that ends before its time; the message says at which evaluation, and why."""


@dataclass(frozen=True)
class Pruned:
    """A training that is out of bounds: what it had scored, an evaluation each, and why it ends."""

    curve: Sequence[float]
    sentence: str


def out_of_bounds(bounds: Bounds, evaluations: Sequence[Mapping[str, float]], steps: int) -> Pruned | None:
    """Return what there is to say at the first evaluation at which the best score so far is out of bounds.

    evaluations: all so far, as `progress.evaluated` tells them, those before an interruption included. The
    last one of all, after `steps`, ends nothing. None: it goes on.
    """
    curve: list[float] = []
    sign = 1 if bounds.higher_is_better else -1
    for scores, bound in zip(evaluations, bounds.reach, strict=False):
        if bounds.metric not in scores:
            return None
        curve.append(scores[bounds.metric])
        best = max(curve, key=lambda score: sign * score)
        if bound is not None and sign * best < sign * bound and scores["step"] < steps:
            at = f"evaluation {len(curve)}, step {scores['step']:.0f} of {steps}"
            told = f"the best {bounds.metric} on validation until {at}, is {number(best)}"
            return Pruned(curve, f"{told}; half of the trials before it had reached {number(bound)} by then")
    return None


def check(bounds: Bounds, evaluations: Sequence[Mapping[str, float]], steps: int) -> None:
    """Raise PrunedError when a training is out of bounds; leave its scores as an artifact of this run."""
    pruned = out_of_bounds(bounds, evaluations, steps)
    if pruned is not None:
        table: Any = [{"evaluation": place, CURVE: score} for place, score in enumerate(pruned.curve, 1)]
        create_table_artifact(table, key=CURVE, description=plain(pruned.sentence))
        raise PrunedError(pruned.sentence)


def forget(checkpoints: Path) -> None:
    """Delete the checkpoints of a training that was pruned, unless an equal one has begun meanwhile.

    Nobody goes on from them, and they would push out those of trainings that somebody does go on with.
    """
    with alone_if_free(checkpoints.with_name(f"{checkpoints.name}.lock")) as is_over:
        if is_over:
            shutil.rmtree(checkpoints, ignore_errors=True)


def curve(run: str) -> list[float]:
    """Return what a run that was pruned had scored on validation, one number for each evaluation."""
    its = FlowRunFilter(id=FlowRunFilterId(any_=[UUID(run)]))
    wanted = ArtifactFilter(
        key=ArtifactFilterKey(any_=[CURVE]), flow_run_id=ArtifactFilterFlowRunId(any_=[UUID(run)])
    )
    with get_client(sync_client=True) as client:
        found = client.read_artifacts(artifact_filter=wanted, flow_run_filter=its)
    # one for each time that it was pruned, if somebody has had it retried: they are the same
    table: Any = found[0].data if found else "[]"
    return [float(row[CURVE]) for row in (json.loads(table) if isinstance(table, str) else table)]
