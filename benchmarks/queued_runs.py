"""A hundred simulated workers and 2,000 queued runs against Prefect's server on PostgreSQL.

Server and database are real, on loopback. A worker is simulated: a coroutine that does over HTTP what
those of `retrain up` do, a heartbeat every 10 s and a look at the queue every 5 for as many runs as it
has slots, and takes them through Pending, Running and Completed; a run itself does nothing. All
workers are one process, on the same cores as the server. First the queue is drained; then twenty
deployments with a schedule of 10 s each run for a minute: by how much does a run start later than it was
to? A second and a third time there are as many slots with a tenth of the workers, and as many workers that
look and send heartbeats as rarely as docs/scale.md advises.
"""

import asyncio
import os
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import asyncpg
from prefect import flow
from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.actions import DeploymentScheduleCreate, WorkPoolCreate
from prefect.client.schemas.filters import FlowRunFilter
from prefect.client.schemas.objects import FlowRun
from prefect.client.schemas.schedules import IntervalSchedule
from prefect.exceptions import Abort
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.states import Completed, Pending, Running
from prefect.utilities.engine import propose_state

from benchmarks.measure import Options, Table
from flows.server.services import SETTINGS
from flows.server.worker import next_runs
from tests.support.postgresql import PROGRAMS, postgresql
from tests.support.server import prefect_server

RUNS, SCHEDULES = 2000, 20
POOL = "simulated"
LOOK, HEARTBEAT, PREFETCH = (
    float(SETTINGS["PREFECT_WORKER_QUERY_SECONDS"]),
    float(SETTINGS["PREFECT_WORKER_HEARTBEAT_SECONDS"]),
    10.0,
)
# of many workers: seconds between looks, between heartbeats
SELDOM = (15.0, 30.0)
# seconds until what is not drained is said to be so; of a schedule, and for how long they run
MOST, EVERY, SCHEDULED = 900.0, 10, 60
# workers that share the connections of a client
TOGETHER = 10
PAGE = 200


@flow(name="nothing")
def nothing() -> None:
    """Do nothing."""


@dataclass(frozen=True)
class Fleet:
    """How many workers there are, their slots, and the seconds between their looks and their heartbeats."""

    workers: int
    slots: int
    look: float = LOOK
    heartbeat: float = HEARTBEAT

    def __str__(self) -> str:
        slots = "a slot" if self.slots == 1 else f"{self.slots} slots"
        return f"{self.workers} workers of {slots}, a look every {self.look:.0f} s"


FLEETS = (Fleet(100, 1), Fleet(10, 10), Fleet(100, 1, *SELDOM))


@dataclass
class Drain:
    """What the workers do together."""

    fleet: Fleet
    over: asyncio.Event = field(default_factory=asyncio.Event)
    done: set[UUID] = field(default_factory=set)
    lost: int = 0
    again: int = 0
    faults: list[str] = field(default_factory=list)


def measure(options: Options) -> list[Table]:
    """Return one table."""
    runs = RUNS if options.repeat is None else options.repeat
    table = Table(f"{runs:,} queued runs, Prefect on PostgreSQL", ("what", *map(str, FLEETS)))
    if not PROGRAMS:
        table.notes.append("skipped: PostgreSQL is not installed (Debian: apt-get install postgresql)")
        return [table]
    found = []
    for fleet in FLEETS:
        found.append(of_fleet(fleet, runs))
        print(f"  {fleet}: {found[-1]}", file=sys.stderr, flush=True)
    table.rows = [[name, *(one[name] for one in found)] for name in found[0]]
    table.notes.append(f"database, server and workers together on {len(os.sched_getaffinity(0))} cores")
    return [table]


def of_fleet(fleet: Fleet, runs: int) -> dict[str, str]:
    """Return what was seen of these workers with a server and a database of their own."""
    with (
        postgresql() as address,
        tempfile.TemporaryDirectory(prefix="retrain-bench-", ignore_cleanup_errors=True) as home,
        environment({**SETTINGS, "PREFECT_SERVER_DATABASE_CONNECTION_URL": address}),
        prefect_server(Path(home)) as url,
        temporary_settings({PREFECT_API_URL: url}),
    ):
        seen = asyncio.run(measured(address, runs, fleet))
        log = Path(home, "server.log").read_text("utf-8", "replace")
    wrong = [line for line in log.splitlines() if " ERROR " in line or "| ERROR" in line]
    return {**seen, "errors in the server's log": str(len(wrong)), "load": f"{os.getloadavg()[0]:.1f}"}


@contextmanager
def environment(given: Mapping[str, str]) -> Iterator[None]:
    """Have what is started here see these variables."""
    before = dict(os.environ)
    os.environ.update(given)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


async def measured(address: str, runs: int, fleet: Fleet) -> dict[str, str]:
    """Drain a queue, then run by schedules; return what was seen."""
    async with get_client() as client:
        flow_id = await client.create_flow(nothing)
        await client.create_work_pool(WorkPoolCreate(name=POOL, type="process"))
        deployment = await client.create_deployment(flow_id, "queued", work_pool_name=POOL)
        empty = await size(address)
        seconds = await queued(client, deployment, runs)
        seen = {"queued": f"{runs / seconds:.0f} a second"}
        async with workers(fleet) as drain:
            began = time.monotonic()
            with suppress(TimeoutError):
                await asyncio.wait_for(drained(drain, runs), MOST)
            took, done = time.monotonic() - began, len(drain.done)
            seen["drained"] = f"{done:,} in {took:.0f} s, {done / took:.1f} a second"
            seen["another was first; begun although over"] = f"{drain.lost:,}; {drain.again:,}"
            full = await size(address)
            seen["database"] = (
                f"{empty / 1e6:.0f} to {full / 1e6:.0f} MB, {(full - empty) / runs / 1000:.1f} kB a run"
            )
            if done >= runs:
                seen["later than scheduled"] = await late(client, flow_id)
            else:
                seen["later than scheduled"] = "not asked: others wait before them"
        faults = Counter(drain.faults)
        seen["faults of workers"] = ", ".join(f"{what} {times}" for what, times in faults.items()) or "none"
        return seen


async def drained(drain: Drain, runs: int) -> None:
    """Return once so many runs are done."""
    while len(drain.done) < runs:  # noqa: ASYNC110 (workers need not know that somebody waits)
        await asyncio.sleep(0.5)


async def queued(client: PrefectClient, deployment: UUID, runs: int) -> float:
    """Queue runs that are due now; return how many seconds that took."""
    began = time.monotonic()
    limit = asyncio.Semaphore(TOGETHER)

    async def one() -> None:
        async with limit:
            await client.create_flow_run_from_deployment(deployment)

    await asyncio.gather(*(one() for _ in range(runs)))
    return time.monotonic() - began


@asynccontextmanager
async def workers(fleet: Fleet) -> AsyncIterator[Drain]:
    """Have workers take runs, until the context is left."""
    drain = Drain(fleet)
    tasks = [asyncio.create_task(some(first, drain)) for first in range(0, fleet.workers, TOGETHER)]
    try:
        yield drain
    finally:
        drain.over.set()
        await asyncio.gather(*tasks)


async def some(first: int, drain: Drain) -> None:
    """Be workers that share a client."""
    async with get_client() as client, asyncio.TaskGroup() as group:
        for number in range(first, min(first + TOGETHER, drain.fleet.workers)):
            group.create_task(worker(client, number, drain))


async def worker(client: PrefectClient, number: int, drain: Drain) -> None:
    """Look at the queue again and again as a worker does, and take as many runs as there are slots."""
    look, heartbeat = drain.fleet.look, drain.fleet.heartbeat
    # not all at once
    await asyncio.sleep(look * number / drain.fleet.workers)
    heard = -heartbeat
    while not drain.over.is_set():
        looked = time.monotonic()
        try:
            if looked - heard >= heartbeat:
                await client.send_worker_heartbeat(POOL, f"worker-{number}", heartbeat)
                heard = looked
            soon = datetime.now(UTC) + timedelta(seconds=PREFETCH)
            found = await next_runs(client, POOL, [], soon, drain.fleet.slots)
            await asyncio.gather(*(take(client, one.flow_run, drain) for one in found))
        except Exception as error:  # noqa: BLE001 (a worker goes on, and the table says what it met)
            drain.faults.append(type(error).__name__)
        with suppress(TimeoutError):
            left = max(0.0, look - (time.monotonic() - looked))
            await asyncio.wait_for(drain.over.wait(), left)


async def take(client: PrefectClient, run: FlowRun, drain: Drain) -> None:
    """Take a run to its end, unless another worker has taken it; one that is not due yet is waited for."""
    try:
        await propose_state(client, Pending(), flow_run_id=run.id)
        await propose_state(client, Running(), flow_run_id=run.id)
        await propose_state(client, Completed(), flow_run_id=run.id)
    except Abort:
        drain.lost += 1
        return
    # a worker whose look is old can begin a run that is over: Prefect lets it
    drain.again += run.id in drain.done
    drain.done.add(run.id)


async def late(client: PrefectClient, flow_id: UUID) -> str:
    """Run deployments by schedules; return by how many seconds runs began late, and how many of those due."""
    schedule = IntervalSchedule(interval=timedelta(seconds=EVERY), anchor_date=datetime.now(UTC))
    scheduled = [DeploymentScheduleCreate(schedule=schedule, active=True)]
    for number in range(SCHEDULES):
        await client.create_deployment(
            flow_id, f"scheduled-{number}", work_pool_name=POOL, schedules=scheduled
        )
    await asyncio.sleep(SCHEDULED + PREFETCH)
    end = datetime.now(UTC) - timedelta(seconds=PREFETCH)
    scheduled_at = [
        (run.expected_start_time, run.start_time)
        for run in await all_runs(client)
        if run.auto_scheduled and run.expected_start_time
    ]
    due = [(expected, start) for expected, start in scheduled_at if expected <= end]
    begun = [(expected, start) for expected, start in due if start]
    seconds = sorted((start - expected).total_seconds() for expected, start in begun)
    if not seconds:
        return f"none of {len(due)} began"
    most = f"95 % {seconds[int(0.95 * (len(seconds) - 1))]:.1f}, most {seconds[-1]:.1f}"
    return f"median {statistics.median(seconds):.1f} s, {most}; {len(begun)} of {len(due)} due"


async def all_runs(client: PrefectClient) -> list[FlowRun]:
    """Return all runs of the pool's deployments that a schedule may have made."""
    found: list[FlowRun] = []
    wanted = FlowRunFilter.model_validate(
        {"state": {"type": {"any_": ["COMPLETED", "RUNNING", "SCHEDULED"]}}}
    )
    while page := await client.read_flow_runs(flow_run_filter=wanted, limit=PAGE, offset=len(found)):
        found += page
    return found


async def size(address: str) -> int:
    """Return the bytes of the database."""
    connection = await asyncpg.connect(address.replace("+asyncpg", ""))
    try:
        return int(await connection.fetchval("select pg_database_size(current_database())"))
    finally:
        await connection.close()
