"""Runs of a deployment that a flow starts and follows: on whichever worker of its pool takes them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId, FlowRunFilterIdempotencyKey
from prefect.client.schemas.objects import FlowRun, WorkerStatus
from prefect.deployments import run_deployment
from prefect.exceptions import ObjectNotFound

from tasks.shared.errors import InputError

# the tag that a run gets when its model is kept: the experiment, or the commit that holds the same
KEPT = ("experiment:", "commit:")
# ids in one question: the server answers with 200 runs at most
AT_ONCE = 100
GONE = "its run is gone from the server"


@dataclass(frozen=True)
class Ended:
    """How a run ended: where its model is kept, or why there is none; how long it took.

    run, state: its id, and the name of the state that it ended in.
    """

    kept: str | None
    why: str
    seconds: float
    run: str
    state: str
    has_crashed: bool = False


def num_workers(deployment: str) -> int | None:
    """Return how many workers of a deployment's pool are online; None: there is no such deployment."""
    with get_client(sync_client=True) as client:
        try:
            pool = client.read_deployment_by_name(deployment).work_pool_name
        except (ObjectNotFound, ValueError):
            return None
        if pool is None:
            return 0
        workers = client.read_workers_for_work_pool(pool)
        online = sum(worker.status == WorkerStatus.ONLINE for worker in workers)
        limit = client.read_work_pool(pool).concurrency_limit
        return online if limit is None else min(online, limit)


def start(deployment: str, name: str, key: str, parameters: Mapping[str, Any]) -> str:
    """Start a run, or find the one that was started with this key before; return its id."""
    with get_client(sync_client=True) as client:
        same = FlowRunFilter(idempotency_key=FlowRunFilterIdempotencyKey(any_=[key]))
        for known in client.read_flow_runs(flow_run_filter=same):
            return str(known.id)
    options: Any = {"flow_run_name": name, "timeout": 0, "idempotency_key": key}
    try:
        run = cast(FlowRun, run_deployment(deployment, parameters=dict(parameters), **options))
    except ObjectNotFound:
        raise InputError(
            f"there is no deployment '{deployment}'; `retrain up` registers retrain/manual"
        ) from None
    return str(run.id)


def ended(ids: Iterable[str]) -> dict[str, Ended]:
    """Return those of the runs that are over, by their ids; also those that somebody has deleted."""
    wanted = [*ids]
    known = {str(run.id): run for run in _runs(wanted)}
    found = {one: Ended(None, GONE, 0.0, one, "") for one in wanted if one not in known}
    for one, run in known.items():
        if run.state is not None and run.state.is_final():
            found[one] = _ended(run)
    return found


def under_way(ids: Iterable[str]) -> bool:
    """Return whether a worker has begun any of the runs."""
    return any(run.start_time is not None for run in _runs([*ids]))


def _runs(ids: Sequence[str]) -> list[FlowRun]:
    """Return the runs with these ids that the server knows."""
    found: list[FlowRun] = []
    with get_client(sync_client=True) as client:
        for start in range(0, len(ids), AT_ONCE):
            some: Any = [*ids[start : start + AT_ONCE]]
            wanted = FlowRunFilter(id=FlowRunFilterId(any_=some))
            found += client.read_flow_runs(flow_run_filter=wanted)
    return found


def _ended(run: FlowRun) -> Ended:
    kept = [tag.partition(":")[2] for tag in run.tags if tag.startswith(KEPT)]
    state = run.state
    is_done = state is not None and state.is_completed()
    name = "" if state is None else state.name or ""
    why = "" if state is None else state.message or name
    seconds = run.total_run_time.total_seconds()
    crashed = bool(state and state.is_crashed())
    return Ended(kept[0] if kept and is_done else None, why, seconds, str(run.id), name, has_crashed=crashed)
