"""A small scheduled flow that looks after the rest: it says when the data has changed or a worker is gone, and has runs that crashed go on."""

from typing import Any

from prefect import flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterTags
from prefect.client.schemas.objects import State, WorkerStatus
from prefect.events import emit_event
from prefect.logging import get_run_logger
from prefect.states import Completed, Failed
from prefect.variables import Variable

from flows.engine.workspace import root
from flows.ledger.data import content_of_source
from flows.ledger.stages import Ledger
from flows.server import recovery
from tasks.shared.errors import InputError, disk_in_words
from tasks.shared.params_file import PARAMS, load

CHANGED = "retrain.data.changed"
SEEN = "retrain_data_seen"  # the Prefect variable that holds, by path, the content of the last look
GONE = "retrain.worker.gone"
MISSED = "retrain_workers_gone"  # the Prefect variable that holds, by pool/name, when each worker that was gone at the last look was last heard of


@flow(name="watch", persist_result=False)
def watch(path: str = "") -> State[None]:
    """Start runs that crashed again; send an event when the data has changed since the last look, and for each worker that is gone since.

    The events are retrain.data.changed and retrain.worker.gone. The first look only remembers: Prefect's variables `retrain_data_seen` and
    `retrain_workers_gone` hold what was seen.

    Args:
        path: What to look at; empty: data.path of params.yaml. Of imported data it is the source that is looked at.
    """
    log = get_run_logger()
    recovery.restart_crashed_runs(log.info)
    report_offline_workers()
    try:
        with disk_in_words():
            path = path or load(root() / PARAMS).data.path
            content = content_of_source(Ledger(root(), say=log.info), path)
    except InputError as error:
        return Failed(message=str(error))
    seen: dict[str, str] = dict(Variable.get(SEEN, default={}))
    before = seen.get(path)
    if content == before:
        return Completed(message=f"{path} is as it was")
    if before is not None:
        emit_event(CHANGED, {"prefect.resource.id": f"retrain.data.{path}"}, payload={"before": before, "now": content})
    Variable.set(SEEN, {**seen, path: content}, overwrite=True)
    return Completed(message=f"{path} has changed" if before is not None else f"{path} is seen for the first time")


def report_offline_workers() -> None:
    """Send retrain.worker.gone, once, for each worker of our deployments' pools that Prefect takes for offline; the pool may have others left."""
    ours = DeploymentFilter(tags=DeploymentFilterTags(all_=[recovery.TAG]))
    with get_client(sync_client=True) as client:
        pools = {str(deployment.work_pool_name) for deployment in client.read_deployments(deployment_filter=ours) if deployment.work_pool_name}
        workers = [(pool, worker) for pool in sorted(pools) for worker in client.read_workers_for_work_pool(pool)]
    gone = {f"{pool}/{worker.name}": str(worker.last_heartbeat_time) for pool, worker in workers if worker.status == WorkerStatus.OFFLINE}
    before: Any = Variable.get(MISSED, default=None)
    for name in sorted(gone.keys() - before.keys()) if before is not None else ():
        pool, _, worker = name.partition("/")
        resource = {"prefect.resource.id": f"retrain.worker.{name}", "prefect.resource.name": worker}
        emit_event(GONE, resource, payload={"pool": pool, "last_heartbeat": gone[name]})
    if gone != before:
        Variable.set(MISSED, gone, overwrite=True)
