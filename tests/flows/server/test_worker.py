"""A worker of `retrain up` asks a real Prefect server for what it can start, and no more."""

import asyncio
from datetime import UTC, datetime, timedelta
from uuid import uuid4

from prefect import flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.settings import PREFECT_API_URL, temporary_settings

from flows.server.worker import Worker, next_runs

SLOTS, QUEUED = 2, 5


@flow(name="nothing")
def nothing() -> None:
    """Do nothing."""


async def looks(pool: str) -> tuple[list[str], list[list[str]]]:
    """Queue runs; return their names, and those that are found by an idle worker, a full one, one without a pool."""
    async with get_client() as client:
        flow_id = await client.create_flow(nothing)
        await client.create_work_pool(WorkPoolCreate(name=pool, type="process"))
        deployment = await client.create_deployment(flow_id, pool, work_pool_name=pool)
        queued = []
        for number in range(QUEUED):
            run = await client.create_flow_run_from_deployment(deployment, name=f"{pool}-{number}")
            queued.append(run.name)
        async with Worker(work_pool_name=pool, limit=SLOTS) as worker:
            idle = await worker._get_scheduled_flow_runs()
            for taken in range(SLOTS):
                worker.limiter.acquire_on_behalf_of_nowait(taken)
            full = await worker._get_scheduled_flow_runs()
        nowhere = await next_runs(client, f"no-{pool}", [], datetime.now(UTC) + timedelta(seconds=10), SLOTS)
        return queued, [[each.flow_run.name for each in found] for found in (idle, full, nowhere)]


def test_a_worker_asks_for_as_many_runs_as_it_has_slots_and_for_none_while_all_are_taken(server: str) -> None:
    with temporary_settings({PREFECT_API_URL: server}):
        queued, found = asyncio.run(looks(f"pool-{uuid4().hex[:8]}"))
    assert found == [queued[:SLOTS], [], []]
