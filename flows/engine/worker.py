"""A run that a worker has started: it ends with the worker, and takes over from runs that waited."""

import os
import signal
from datetime import UTC, datetime

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import (
    DeploymentFilter,
    DeploymentFilterId,
    FlowRunFilter,
    FlowRunFilterExpectedStartTime,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.context import FlowRunContext
from prefect.logging import get_run_logger
from prefect.states import Cancelled

from tasks.shared.stage import end_with_parent


def attach() -> None:
    """Have a run that a worker has started end with the worker, and cancel runs that waited for the same."""
    # prefect.runtime would ask the server
    context = FlowRunContext.get()
    if context is None or context.flow_run is None or context.flow_run.deployment_id is None:
        return
    # not PREFECT__WORKER_ID: a worker that has just started does not know its id yet
    if "PREFECT__WORKER_NAME" in os.environ:
        # nobody could cancel it once its worker is gone; it reports itself as crashed and keeps its
        # checkpoint
        end_with_parent(signal.SIGTERM)
    with get_client(sync_client=True) as client:
        run = client.read_flow_run(context.flow_run.id)
        _supersede(client, run)


def _supersede(client: SyncPrefectClient, run: FlowRun) -> None:
    """Cancel other runs of a schedule or trigger that should have started by now: this one does the same."""
    if run.deployment_id is None or not _starts_by_itself(run):
        return
    waiting = client.read_flow_runs(
        deployment_filter=DeploymentFilter(id=DeploymentFilterId(any_=[run.deployment_id])),
        flow_run_filter=FlowRunFilter(
            state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.SCHEDULED])),
            expected_start_time=FlowRunFilterExpectedStartTime(before_=datetime.now(UTC)),
        ),
    )
    for other in waiting:
        is_same = other.id != run.id and other.parameters == run.parameters
        if is_same and _starts_by_itself(other):
            why = f"{run.name} does what this run would have done"
            client.set_flow_run_state(other.id, Cancelled(message=why))
            get_run_logger().info("%s waited for the same: cancelled, this run does its work", other.name)


def _starts_by_itself(run: FlowRun) -> bool:
    """Return whether a schedule or a trigger has made a run; else somebody asked for this very one."""
    is_triggered = run.created_by is not None and run.created_by.type == "AUTOMATION"
    return run.auto_scheduled or is_triggered
