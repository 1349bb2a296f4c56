"""A small scheduled flow that looks after the others: it says when the data has changed, and has runs that crashed go on."""

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.events import emit_event
from prefect.logging import get_run_logger
from prefect.states import Completed, Failed
from prefect.variables import Variable

from flows import recovery
from flows.ledger import Ledger, content_of_source
from flows.workspace import root
from tasks.errors import InputError
from tasks.params_file import load

CHANGED = "retrain.data.changed"
SEEN = "retrain_data_seen"  # the Prefect variable that holds, by path, the content of the last look
DATA = load().data.path


@flow(name="watch", persist_result=False)
def watch(path: str = DATA) -> State[None]:
    """Start runs that crashed again, and send the event retrain.data.changed when the data has changed since the last look.

    The first look only remembers. Prefect's variable `retrain_data_seen` holds what was seen.

    Args:
        path: What to look at. Of imported data it is the source that is looked at.
    """
    recovery.go_on(get_run_logger().info)
    try:
        content = content_of_source(Ledger(root()), path)
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
