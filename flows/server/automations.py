"""What the Prefect server does by itself: end runs that nobody works on any more, and say what went wrong."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.objects import BlockDocument, StateType
from prefect.events.actions import ChangeFlowRunState, SendNotification
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture
from prefect.events.schemas.events import ResourceSpecification

from flows.server.pages import every
from tasks.shared.say import Say

# every notification block of this name is told
CHANNEL = "retrain"
# how the names of our automations begin
OURS = "retrain: "
# three heartbeats of a run
SILENCE = timedelta(seconds=90)
STATES = (
    *("Completed", "Failed", "Cancelled", "Crashed", "Paused", "Suspended", "AwaitingRetry"),
    # our own names of Completed, Failed and Cancelled
    *("Refused", "Unanswered", "Pruned"),
)
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

ABOUT_A_MODEL = """{{ event.resource.name }}, {{ event.payload.stage }}: {{ event.payload.sentence }}
{{ event.payload.next_step }}
{{ event.payload.url }}"""
# what is told of a model, by the events that flows/report/events.py sends
MODELS = {
    "promoted": "a model is promoted",
    "refused": "a model is refused",
    "waiting": "a model waits for an answer",
    "rolled-back": "a model is rolled back",
}
# in Prefect's words, when nobody has resumed a run in time
EXPIRED = "The flow was paused and never resumed."
UNANSWERED = """nobody answered in time (promote.ask_timeout_hours), so nothing is promoted; \
`retrain promote RUN` promotes it, a new run of promote/promote asks once more"""
ASKED = "Run {{ flow_run.name }} has asked whether {{ flow_run.parameters.run }} is promoted"
ABOUT_AN_ANSWER = "\n".join([f"{ASKED}: {UNANSWERED}.", "{{ flow_run|ui_url }}"])


def _resource(id_: str, **more: str) -> ResourceSpecification:
    return ResourceSpecification({"prefect.resource.id": id_, **more})


# a run of one of our deployments
ANY_RUN: dict[str, Any] = {
    "match": _resource("prefect.flow-run.*"),
    "match_related": _resource("prefect.tag.retrain", **{"prefect.resource.role": "tag"}),
}


def register(pool: str, say: Say) -> None:
    """Create our automations, update those that are there, and remove those that are no longer wanted.

    They are known by their names. `make up` calls this each time.
    """
    with get_client(sync_client=True) as client:
        channels = _channels(client)
        wanted = {automation.name: _written_out(automation) for automation in _automations(pool, channels)}
        known = {automation.name: automation for automation in every(client.read_automations)}
        there = {name: automation for name, automation in known.items() if name.startswith(OURS)}
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
        say(f"told of models, failures, late runs and dead workers: {named}")
    else:
        remedy = f"make a notification block named {CHANNEL} in the UI (Blocks), then run `make up` again"
        say(f"nobody is told of models and failures yet: {remedy}")


def _written_out(automation: AutomationCore) -> AutomationCore:
    """Return an automation with its defaults set: an update sends what is set, and the server wants all.

    But not the owner, which it does not take.
    """
    return AutomationCore.model_validate(automation.model_dump(exclude={"owner_resource"}))


def _channels(client: SyncPrefectClient) -> list[BlockDocument]:
    blocks = every(client.read_block_documents, include_secrets=False)
    named = [block for block in blocks if block.name == CHANNEL]
    return [block for block in named if block.block_schema and "notify" in block.block_schema.capabilities]


def _automations(pool: str, channels: list[BlockDocument]) -> list[AutomationCore]:
    wanted = [_end_silent_runs(), _say_that_nobody_has_answered(channels)]
    if not channels:
        return wanted
    a_model = _resource("retrain.model.*")
    a_worker = _resource("retrain.worker.*")
    this_pool = _resource("prefect.work-pool.*", **{"prefect.resource.name": pool})
    failed = {"prefect.flow-run.Failed", "prefect.flow-run.Crashed"}
    return [
        *wanted,
        *(
            _notify(channels, what, ABOUT_A_MODEL, match=a_model, expect={f"retrain.model.{event}"})
            for event, what in MODELS.items()
        ),
        # what nobody has answered is told of in other words
        _notify(channels, "a run failed", ABOUT_A_RUN, **_a_run_that_says(f"!{EXPIRED}"), expect=failed),
        _notify(channels, "a run is late", ABOUT_A_RUN, **ANY_RUN, expect={"prefect.flow-run.Late"}),
        _notify(channels, "no worker", ABOUT_A_POOL, match=this_pool, expect={"prefect.work-pool.not-ready"}),
        _notify(channels, "a worker is gone", ABOUT_A_WORKER, match=a_worker, expect={"retrain.worker.gone"}),
    ]


def _a_run_that_says(message: str) -> dict[str, Any]:
    """Return what matches a run of ours by the message of its state; with ! before it, by any other."""
    return {**ANY_RUN, "match": _resource("prefect.flow-run.*", **{"prefect.state-message": message})}


def _end_silent_runs() -> AutomationCore:
    return AutomationCore(
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


def _say_that_nobody_has_answered(channels: list[BlockDocument]) -> AutomationCore:
    return AutomationCore(
        name=f"{OURS}say that nobody has answered",
        description="A run that waits for an answer ends when its time is over, and says what that means.",
        trigger=EventTrigger(**_a_run_that_says(EXPIRED), expect={"prefect.flow-run.Failed"}, threshold=1),
        actions=[
            ChangeFlowRunState(name="Unanswered", state=StateType.FAILED, message=UNANSWERED),
            *_notifications(channels, "nobody has answered", ABOUT_AN_ANSWER),
        ],
    )


def _notify(channels: list[BlockDocument], what: str, body: str, **trigger: Any) -> AutomationCore:
    """Return the automation that tells every channel what happened, once for each event."""
    return AutomationCore(
        name=f"{OURS}tell of: {what}",
        trigger=EventTrigger(**trigger, threshold=1),
        actions=[*_notifications(channels, what, body)],
    )


def _notifications(channels: list[BlockDocument], what: str, body: str) -> Iterator[SendNotification]:
    for channel in channels:
        yield SendNotification(block_document_id=channel.id, subject=f"retrain: {what}", body=body)
