"""Work pools and the workers that have reported to the Prefect server."""

import contextlib
import time

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterTags
from prefect.client.schemas.objects import Worker, WorkerStatus
from prefect.exceptions import ObjectAlreadyExists

from flows.server.recovery import TAG
from tasks.shared.errors import InputError


def make(name: str) -> None:
    """Make the work pool, if it is not there; one that is there stays as it is."""
    description = "Runs of retrain, each a process on its worker's machine."
    pool = WorkPoolCreate(name=name, type="process", description=description)
    with get_client(sync_client=True) as client, contextlib.suppress(ObjectAlreadyExists):
        client.create_work_pool(pool)


def wait_for_workers(pool: str, names: list[str], seconds: float) -> None:
    """Wait until the server has heard of all the workers; raise InputError when it does not."""
    end = time.monotonic() + seconds
    with get_client(sync_client=True) as client:
        while True:
            workers = client.read_workers_for_work_pool(pool)
            online = {worker.name for worker in workers if worker.status == WorkerStatus.ONLINE}
            missing = ", ".join(sorted(set(names) - online))
            if not missing:
                return
            if time.monotonic() > end:
                raise InputError(f"{missing} did not report in {seconds:.0f} s; see .retrain/logs")
            time.sleep(0.5)


def offline_workers() -> list[tuple[str, Worker]]:
    """Return the workers that Prefect takes for offline in the pools of our deployments, with their pools."""
    with get_client(sync_client=True) as client:
        return [(pool, worker) for pool, worker in workers(client) if worker.status == WorkerStatus.OFFLINE]


def workers(client: SyncPrefectClient) -> list[tuple[str, Worker]]:
    """Return all workers that have reported in the pools of our deployments, with their pools."""
    ours = DeploymentFilter(tags=DeploymentFilterTags(all_=[TAG]))
    pools = {deployment.work_pool_name for deployment in client.read_deployments(deployment_filter=ours)}
    found = []
    for pool in sorted(filter(None, pools)):
        found += [(pool, worker) for worker in client.read_workers_for_work_pool(pool)]
    return found
