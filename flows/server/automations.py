"""What the Prefect server does for us by itself: end runs that nobody works on any more, and tell people what went wrong. `make up` sees to it."""

import contextlib
import time
from collections.abc import Callable, Iterator
from datetime import timedelta

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.objects import BlockDocument, StateType
from prefect.events.actions import ChangeFlowRunState, SendNotification
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture
from prefect.events.schemas.events import ResourceSpecification
from prefect.exceptions import ObjectAlreadyExists

from tasks.shared.errors import InputError

CHANNEL = "retrain"  # every notification block of this name is told
OURS = "retrain: "  # how the names of our automations begin
SILENCE = timedelta(seconds=90)  # three heartbeats of a run
ENDED = {f"prefect.flow-run.{state}" for state in ("Completed", "Failed", "Cancelled", "Crashed", "Paused", "Suspended", "AwaitingRetry")}
ABOUT_A_RUN = """{{ flow.name }}/{{ deployment.name }}, run {{ flow_run.name }}: {{ flow_run.state.name }}
{{ flow_run.state.message }}
{{ flow_run|ui_url }}"""
ABOUT_A_POOL = """No worker of work pool {{ work_pool.name }} has been heard of for half a minute: nothing runs until one is started.
{{ work_pool|ui_url }}"""
ABOUT_A_WORKER = """Worker {{ event.resource.name }} of work pool {{ event.payload.pool }} was last heard of at {{ event.payload.last_heartbeat }}.
Its runs end as Crashed and go on at another worker, if there is one."""
TAGGED = ResourceSpecification({"prefect.resource.id": "prefect.tag.retrain", "prefect.resource.role": "tag"})


def make_pool(name: str) -> None:
    """Make the work pool, if it is not there; one that is there stays as it is."""
    pool = WorkPoolCreate(name=name, type="process", description="Runs of retrain, each a process on its worker's machine.")
    with get_client(sync_client=True) as client, contextlib.suppress(ObjectAlreadyExists):
        client.create_work_pool(pool)


def wait_for_workers(pool: str, names: list[str], seconds: float) -> None:
    """Wait until the server has heard of all the workers; raise InputError when it does not."""
    end = time.monotonic() + seconds
    with get_client(sync_client=True) as client:
        while missing := set(names) - {worker.name for worker in client.read_workers_for_work_pool(pool) if worker.status == "ONLINE"}:
            if time.monotonic() > end:
                raise InputError(f"{', '.join(sorted(missing))} did not report to the server within {seconds:.0f} s; see .retrain/logs")
            time.sleep(0.5)


def register(pool: str, say: Callable[[str], None]) -> None:
    """Create our automations, bring those that are there up to date, and remove those that are no longer wanted. They are known by their names."""
    with get_client(sync_client=True) as client:
        channels = _channels(client)
        wanted = {automation.name: automation for automation in _automations(pool, channels)}
        there = {automation.name: automation for automation in client.read_automations() if automation.name.startswith(OURS)}
        for name in there.keys() - wanted.keys():
            client.delete_automation(there[name].id)
        for name, automation in wanted.items():
            if name not in there:
                client.create_automation(automation)
            elif automation != AutomationCore.model_validate(there[name].model_dump()):  # an update would forget the heartbeats seen so far
                client.update_automation(there[name].id, automation)
    if channels:
        say(f"told of failures, late runs and dead workers: {', '.join(str(channel.block_type_name) for channel in channels)}")
    else:
        say(f"nobody is told of failures yet: make a notification block named {CHANNEL} in the UI (Blocks), then run `make up` again")


def _channels(client: SyncPrefectClient) -> list[BlockDocument]:
    return [block for block in client.read_block_documents(include_secrets=False) if block.name == CHANNEL and _notifies(block)]


def _notifies(block: BlockDocument) -> bool:
    return block.block_schema is not None and "notify" in block.block_schema.capabilities


def _automations(pool: str, channels: list[BlockDocument]) -> Iterator[AutomationCore]:
    yield AutomationCore(
        name=f"{OURS}end runs that are gone",
        description=f"A run that has sent no heartbeat for {SILENCE.seconds} s is no longer worked on: it ends as Crashed, and its slot is free.",
        trigger=EventTrigger(
            match=ResourceSpecification({"prefect.resource.id": "prefect.flow-run.*"}),
            match_related=TAGGED,
            after={"prefect.flow-run.heartbeat"},
            expect={"prefect.flow-run.heartbeat", *ENDED},
            for_each={"prefect.resource.id"},
            posture=Posture.Proactive,
            threshold=1,
            within=SILENCE,
        ),
        actions=[
            ChangeFlowRunState(
                state=StateType.CRASHED,
                message=f"nothing was heard of this run for {SILENCE.seconds} s: its process is gone",
            )
        ],
    )
    if not channels:
        return
    for title, events in (("a run failed", {"prefect.flow-run.Failed", "prefect.flow-run.Crashed"}), ("a run is late", {"prefect.flow-run.Late"})):
        yield AutomationCore(
            name=f"{OURS}tell that {title}",
            trigger=EventTrigger(
                match=ResourceSpecification({"prefect.resource.id": "prefect.flow-run.*"}), match_related=TAGGED, expect=events, threshold=1
            ),
            actions=[SendNotification(block_document_id=channel.id, subject=f"retrain: {title}", body=ABOUT_A_RUN) for channel in channels],
        )
    yield AutomationCore(
        name=f"{OURS}tell that the workers are gone",
        trigger=EventTrigger(
            match=ResourceSpecification({"prefect.resource.id": "prefect.work-pool.*", "prefect.resource.name": pool}),
            expect={"prefect.work-pool.not-ready"},
            threshold=1,
        ),
        actions=[SendNotification(block_document_id=channel.id, subject="retrain: no worker", body=ABOUT_A_POOL) for channel in channels],
    )
    yield AutomationCore(
        name=f"{OURS}tell that a worker is gone",
        trigger=EventTrigger(match=ResourceSpecification({"prefect.resource.id": "retrain.worker.*"}), expect={"retrain.worker.gone"}, threshold=1),
        actions=[SendNotification(block_document_id=channel.id, subject="retrain: a worker is gone", body=ABOUT_A_WORKER) for channel in channels],
    )
