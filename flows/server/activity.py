"""What goes on at the Prefect server: the last and next runs, the workers, and what waits for an answer."""

from dataclasses import dataclass, field
from datetime import datetime

import httpx
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import (
    DeploymentFilter,
    DeploymentFilterTags,
    FlowFilter,
    FlowFilterName,
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateName,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.client.schemas.objects import Worker as Reported
from prefect.client.schemas.sorting import FlowRunSort
from prefect.settings import PREFECT_CLIENT_MAX_RETRIES, temporary_settings
from prefect.utilities.urls import url_for

from flows.server import work_pools
from flows.server.pages import every
from flows.server.recovery import TAG
from tasks.shared.errors import InputError

# seconds for an answer, which is not asked for twice
TIMEOUT = 10.0
# how many of the last runs are shown
LAST = 5
# the flows whose runs make models or change who has a stage
FLOWS = ["retrain", "promote", "rollback", "reproduce", "seeds", "sweep"]
BEGUN = [its for its in StateType if its != StateType.SCHEDULED]


@dataclass(frozen=True)
class Run:
    """A run: what it is of (retrain/nightly), its state, when it began or is to begin, what it said last.

    until: when a run that waits for somebody gives up.
    """

    name: str
    of: str
    state: str
    when: datetime | None
    said: str
    url: str | None
    until: datetime | None = None


@dataclass(frozen=True)
class Worker:
    """A worker of a pool; status: ONLINE or OFFLINE."""

    name: str
    pool: str
    status: str
    last_heard_of: datetime | None


@dataclass(frozen=True)
class Activity:
    """All of it; paused: the deployments with a schedule that is switched off."""

    last: list[Run] = field(default_factory=list)
    next: list[Run] = field(default_factory=list)
    paused: list[str] = field(default_factory=list)
    workers: list[Worker] = field(default_factory=list)
    waiting: list[Run] = field(default_factory=list)


def activity() -> Activity:
    """Ask the server that Prefect is configured for; raise InputError when it does not answer in time."""
    try:
        with (
            temporary_settings({PREFECT_CLIENT_MAX_RETRIES: 0}),
            get_client(httpx_settings={"timeout": TIMEOUT}, sync_client=True) as client,
        ):
            return _asked(client)
    except httpx.HTTPError as error:
        why = str(error) or type(error).__name__
        raise InputError(f"the Prefect server does not tell what goes on: {why}") from None


def _asked(client: SyncPrefectClient) -> Activity:
    ours = DeploymentFilter(tags=DeploymentFilterTags(all_=[TAG]))
    deployments = client.read_deployments(deployment_filter=ours)
    flows = {flow.id: flow.name for flow in every(client.read_flows)}
    named = {its.id: f"{flows.get(its.flow_id)}/{its.name}" for its in deployments}
    scheduled = [its for its in deployments if its.schedules]
    off = [its for its in scheduled if its.paused or not any(one.active for one in its.schedules)]

    def shown(run: FlowRun) -> Run:
        flow = flows.get(run.flow_id, "")
        return _shown(run, named.get(run.deployment_id, flow) if run.deployment_id else flow)

    coming = client.read_flow_runs(
        deployment_filter=ours,
        flow_run_filter=_in(StateType.SCHEDULED),
        sort=FlowRunSort.EXPECTED_START_TIME_ASC,
    )
    # the first of each deployment: many are scheduled ahead
    first = {run.deployment_id: run for run in reversed(coming)}
    return Activity(
        last=[shown(run) for run in _runs(client, _in(*BEGUN), LAST)],
        next=sorted(map(shown, first.values()), key=lambda run: str(run.when)),
        paused=sorted(named[its.id] for its in off),
        workers=[_worker(*one) for one in work_pools.workers(client)],
        waiting=[shown(run) for run in _runs(client, _named("Suspended"))],
    )


def _runs(client: SyncPrefectClient, wanted: FlowRunFilter, limit: int | None = None) -> list[FlowRun]:
    """Return the runs of our flows, the newest first."""
    ours = FlowFilter(name=FlowFilterName(any_=FLOWS))
    sort = FlowRunSort.START_TIME_DESC
    return client.read_flow_runs(flow_filter=ours, flow_run_filter=wanted, sort=sort, limit=limit)


def _in(*types: StateType) -> FlowRunFilter:
    return FlowRunFilter(state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[*types])))


def _named(state: str) -> FlowRunFilter:
    return FlowRunFilter(state=FlowRunFilterState(name=FlowRunFilterStateName(any_=[state])))


def _shown(run: FlowRun, of: str) -> Run:
    state = run.state
    return Run(
        name=run.name,
        of=of,
        state=run.state_name or "",
        when=run.start_time or run.expected_start_time,
        said=(state and state.message) or "",
        url=url_for("flow-run", obj_id=run.id),
        until=state.state_details.pause_timeout if state else None,
    )


def _worker(pool: str, worker: Reported) -> Worker:
    return Worker(worker.name, pool, str(worker.status.value), worker.last_heartbeat_time)
