"""Runs that died: those that nobody works on any more end as Crashed, and crashed runs are restarted."""

import platform
from datetime import UTC, datetime, timedelta
from typing import Any

import psutil
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterDeploymentId,
    FlowRunFilterEndTime,
    FlowRunFilterStartTime,
    FlowRunFilterState,
    FlowRunFilterStateType,
    FlowRunFilterTags,
)
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.client.schemas.sorting import FlowRunSort
from prefect.states import AwaitingRetry, Crashed

from flows.server.pages import every
from tasks.shared.say import Say

# of all our deployments' runs
TAG = "retrain"
LATELY = timedelta(days=1)
# as many in a row, and a run is not restarted by itself
CRASHES = 3
NOT_CRASHED = (
    StateType.PENDING,
    StateType.RUNNING,
    StateType.COMPLETED,
    StateType.FAILED,
    StateType.CANCELLED,
)
GOING_ON = "it crashed, and goes on from its last checkpoint"


def restart_crashed_runs(say: Say) -> None:
    """Restart crashed runs from their last checkpoints.

    They are those of the last day, unless a later run does the same work or they crash every time.
    """
    earliest = datetime.now(UTC) - LATELY
    with get_client(sync_client=True) as client:
        for run in _runs(client, StateType.CRASHED, end_time=FlowRunFilterEndTime(after_=earliest)):
            if run.deployment_id is None or _done_by_another(client, run):
                continue
            if (crashes := _crashes(client, run)) >= CRASHES:
                say(f"run {run.name} has crashed {crashes} times in a row and is left alone; see its log")
                continue
            client.set_flow_run_state(run.id, AwaitingRetry(message=GOING_ON))
            say(f"run {run.name} crashed, and goes on from its last checkpoint")


def crash_dead_runs(pool: str, say: Say) -> None:
    """Have runs end as Crashed whose process was on this machine and is no more.

    A power cut would leave them Running for good. Prefect keeps their process ids but not the machine's
    name, so this is left to the heartbeats when the pool has workers elsewhere.
    """
    with get_client(sync_client=True) as client:
        workers = client.read_workers_for_work_pool(pool)
        if not all(worker.name.startswith(f"{platform.node()}-") for worker in workers):
            return
        for run in _runs(client, StateType.PENDING, StateType.RUNNING, StateType.CANCELLING):
            pid = run.infrastructure_pid or ""
            if run.work_pool_name == pool and pid.isdigit() and not _is_prefect(int(pid)):
                client.set_flow_run_state(run.id, Crashed(message="its process is gone"))
                say(f"run {run.name} had no process any more: it is now Crashed")


def _runs(client: SyncPrefectClient, *types: StateType, **filters: Any) -> list[FlowRun]:
    """Return all runs of our deployments in these states."""
    state = FlowRunFilterState(type=FlowRunFilterStateType(any_=list(types)))
    wanted = FlowRunFilter(state=state, tags=FlowRunFilterTags(all_=[TAG]), **filters)
    return every(client.read_flow_runs, flow_run_filter=wanted, sort=FlowRunSort.ID_DESC)


def _done_by_another(client: SyncPrefectClient, run: FlowRun) -> bool:
    """Return whether a later run of its deployment has the same parameters, and so the same checkpoint."""
    if run.deployment_id is None or run.start_time is None:
        return False
    same = FlowRunFilterDeploymentId(any_=[run.deployment_id])
    later = FlowRunFilterStartTime(after_=run.start_time, is_null_=False)
    others = _runs(client, *NOT_CRASHED, deployment_id=same, start_time=later)
    return any(other.parameters == run.parameters for other in others)


def _crashes(client: SyncPrefectClient, run: FlowRun) -> int:
    """Return how often a run has crashed since somebody, or its schedule, last started it."""
    crashes = 0
    for state in client.read_flow_run_states(run.id):
        if state.is_crashed():
            crashes += 1
        elif state.is_scheduled() and state.message != GOING_ON:
            crashes = 0
    return crashes


def _is_prefect(pid: int) -> bool:
    try:
        return "prefect" in " ".join(psutil.Process(pid).cmdline())
    except psutil.Error:
        return False
