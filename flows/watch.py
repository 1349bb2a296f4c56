"""A small scheduled flow: it restarts crashed runs, and says when data has changed or a worker is gone."""

from hashlib import sha256
from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.events import emit_event
from prefect.logging import get_run_logger
from prefect.states import Completed, Failed
from prefect.variables import Variable

from flows.engine.workspace import root
from flows.ledger.data import content_of_source
from flows.ledger.stages import Ledger
from flows.server import recovery, work_pools
from tasks.shared.errors import InputError, disk_in_words
from tasks.shared.params_file import PARAMS, load

CHANGED = "retrain.data.changed"
# how the Prefect variables begin that hold, each of a path, the content of the last look
SEEN = "retrain_data_seen_"
# characters of a content as it is kept: a variable holds 5,000
LONGEST = 200
GONE = "retrain.worker.gone"
# the Prefect variable that holds, by pool/name, when the workers that were offline last reported
OFFLINE = "retrain_workers_gone"


@flow(name="watch", persist_result=False)
def watch(path: str = "") -> State[None]:
    """Restart crashed runs; send an event when data has changed, and for each worker that is gone.

    The events are retrain.data.changed and retrain.worker.gone. The first look only remembers: Prefect's
    variables `retrain_data_seen_...`, one for each path, and `retrain_workers_gone` hold what was seen.

    Args:
        path: What to look at; empty: data.path of params.yaml. Of imported data its source is looked at.
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
    return Completed(message=f"{path} {report_changed_data(path, content)}")


def report_changed_data(path: str, content: str) -> str:
    """Send retrain.data.changed when the content is not that of the last look; return how it is, in words."""
    if len(content) > LONGEST:
        # of many files there are many hashes
        content = f"sha256:{sha256(content.encode()).hexdigest()}"
    # one of its own: another watch writes meanwhile what it has seen elsewhere
    variable = SEEN + sha256(path.encode()).hexdigest()[:16]
    seen: Any = Variable.get(variable, default={})
    before = seen.get("content")
    if content == before:
        return "is as it was"
    if before is not None:
        resource = {"prefect.resource.id": f"retrain.data.{path}"}
        emit_event(CHANGED, resource, payload={"before": before, "now": content})
    Variable.set(variable, {"path": path, "content": content}, overwrite=True)
    return "is seen for the first time" if before is None else "has changed"


def report_offline_workers() -> None:
    """Send retrain.worker.gone, once, for each worker that is offline; its pool may have others left."""
    workers = work_pools.offline_workers()
    offline = {f"{pool}/{worker.name}": str(worker.last_heartbeat_time) for pool, worker in workers}
    before: Any = Variable.get(OFFLINE, default=None)
    for name in sorted(offline.keys() - before.keys()) if before is not None else ():
        pool, _, worker = name.partition("/")
        resource = {"prefect.resource.id": f"retrain.worker.{name}", "prefect.resource.name": worker}
        emit_event(GONE, resource, payload={"pool": pool, "last_heartbeat": offline[name]})
    if offline != before:
        Variable.set(OFFLINE, offline, overwrite=True)
