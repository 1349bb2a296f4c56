"""What the Prefect server does by itself: end runs that nobody works on any more, and say what went wrong."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.objects import BlockDocument, StateType
from prefect.events.actions import ChangeFlowRunState, SendNotification
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture
from prefect.events.schemas.events import ResourceSpecification

# every notification block of this name is told
CHANNEL = "retrain"
# how the names of our automations begin
OURS = "retrain: "
# three heartbeats of a run
SILENCE = timedelta(seconds=90)
STATES = ("Completed", "Failed", "Cancelled", "Crashed", "Paused", "Suspended", "AwaitingRetry")
ENDED = {f"prefect.flow-run.{state}" for state in STATES}
ABOUT_A_RUN = """{{ flow.name }}/{{ deployment.name }}, run {{ flow_run.name }}: {{ flow_run.state.name }}
{{ flow_run.state.message }}
{{ flow_run|ui_url }}"""
ABOUT_A_POOL = """No worker of work pool {{ work_pool.name }} has been heard of for half a minute: \
nothing runs until one is started.
{{ work_pool|ui_url }}"""
ABOUT_A_WORKER = """Worker {{ event.resource.name }} of work pool {{ event.payload.pool }} \
was last heard of at {{ event.payload.last_heartbeat }}.
Its runs end as Crashed and go on at another worker, if there is one."""


def _resource(id_: str, **more: str) -> ResourceSpecification:
    return ResourceSpecification({"prefect.resource.id": id_, **more})


# a run of one of our deployments
ANY_RUN: dict[str, Any] = {
    "match": _resource("prefect.flow-run.*"),
    "match_related": _resource("prefect.tag.retrain", **{"prefect.resource.role": "tag"}),
}


def register(pool: str, say: Callable[[str], None]) -> None:
    """Create our automations, update those that are there, and remove those that are no longer wanted.

    They are known by their names. `make up` calls this each time.
    """
    with get_client(sync_client=True) as client:
        channels = _channels(client)
        wanted = {automation.name: automation for automation in _automations(pool, channels)}
        every = {automation.name: automation for automation in client.read_automations()}
        there = {name: automation for name, automation in every.items() if name.startswith(OURS)}
        for name in there.keys() - wanted.keys():
            client.delete_automation(there[name].id)
        for name, automation in wanted.items():
            if name not in there:
                client.create_automation(automation)
            elif automation != AutomationCore.model_validate(there[name].model_dump()):
                # not each time: an update forgets the heartbeats that were seen so far
                client.update_automation(there[name].id, automation)
    if channels:
        named = ", ".join(str(channel.block_type_name) for channel in channels)
        say(f"told of failures, late runs and dead workers: {named}")
    else:
        remedy = f"make a notification block named {CHANNEL} in the UI (Blocks), then run `make up` again"
        say(f"nobody is told of failures yet: {remedy}")


def _channels(client: SyncPrefectClient) -> list[BlockDocument]:
    named = [block for block in client.read_block_documents(include_secrets=False) if block.name == CHANNEL]
    return [block for block in named if block.block_schema and "notify" in block.block_schema.capabilities]


def _automations(pool: str, channels: list[BlockDocument]) -> list[AutomationCore]:
    end_silent_runs = AutomationCore(
        name=f"{OURS}end runs that are gone",
        description=f"A run without a heartbeat for {SILENCE.seconds} s ends as Crashed; its slot is free.",
        trigger=EventTrigger(
            **ANY_RUN,
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
        return [end_silent_runs]
    a_worker = _resource("retrain.worker.*")
    this_pool = _resource("prefect.work-pool.*", **{"prefect.resource.name": pool})
    failed = {"prefect.flow-run.Failed", "prefect.flow-run.Crashed"}
    return [
        end_silent_runs,
        _notify(channels, "a run failed", ABOUT_A_RUN, **ANY_RUN, expect=failed),
        _notify(channels, "a run is late", ABOUT_A_RUN, **ANY_RUN, expect={"prefect.flow-run.Late"}),
        _notify(channels, "no worker", ABOUT_A_POOL, match=this_pool, expect={"prefect.work-pool.not-ready"}),
        _notify(channels, "a worker is gone", ABOUT_A_WORKER, match=a_worker, expect={"retrain.worker.gone"}),
    ]


def _notify(channels: list[BlockDocument], what: str, body: str, **trigger: Any) -> AutomationCore:
    """Return the automation that tells every channel what happened, once for each event."""
    words = {"subject": f"retrain: {what}", "body": body}
    return AutomationCore(
        name=f"{OURS}tell of: {what}",
        trigger=EventTrigger(**trigger, threshold=1),
        actions=[SendNotification(block_document_id=channel.id, **words) for channel in channels],
    )
