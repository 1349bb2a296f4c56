"""Give a run's model a stage once that is proven, and approved where somebody is asked; or give it back."""

from pathlib import Path
from typing import Literal

from prefect import flow, runtime
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import State
from prefect.flow_runs import suspend_flow_run
from prefect.input import RunInput
from prefect.logging import get_run_logger
from prefect.states import Completed, Failed
from pydantic import Field

from flows.engine.stage import fails_in_words
from flows.engine.workspace import root
from flows.ledger.experiments import commit_named
from flows.registry import candidate
from flows.registry.candidate import Candidate
from flows.registry.decision import Decision
from flows.registry.policy import refusal
from flows.registry.rollback import roll_back
from flows.registry.tags import Told
from flows.report import events
from flows.report.artifacts import pictures, publish_document
from tasks.shared.errors import InputError
from tasks.shared.markup import plain
from tasks.shared.templates import render

HOUR = 3600
# what Prefect remembers a wait by
KEY = "approval"
VERDICT = Path(__file__).parent / "report/templates/verdict.md.j2"


class Answer(RunInput):
    """What becomes of a model that waits. Prefect's open source knows no users: whoever answers signs."""

    answer: Literal["approve", "refuse"] = Field(description="Whether the model is given the stage.")
    name: Told = Field(pattern=r"\S", max_length=100, description="Who answers; it stands in the tag.")
    reason: Told = Field(pattern=r"\S", max_length=1000, description="Why; it stands in the tag.")


@flow(name="promote", persist_result=False)
@fails_in_words
def promote(
    run: str,
    stage: str = "",
    name: str = "",
    ask: bool = False,  # noqa: FBT001, FBT002 (a form)
    force: bool = False,  # noqa: FBT001, FBT002
    reason: str = "",
) -> State[None]:
    """Give a run's model a stage, if it is shown to be better than the one that has it.

    Args:
        run: An experiment, or a commit, branch or tag of a run.
        stage: The stage; empty: promote.stage of the run.
        name: The model's name in the registry; empty: promote.name of the run, else package.name.
        ask: Wait until somebody has approved it: press Resume.
        force: Promote it although nothing is proven; the reason stands in the tag.
        reason: Why, in a sentence.
    """
    log = get_run_logger()
    if force and not reason:
        raise InputError("force needs a reason, which will stand in the tag")
    checkout = root()
    commit = commit_named(checkout, run)
    with candidate.candidate(checkout, commit, run, log.info, name=name or None, stage=stage or None) as its:
        found = _decided(its, force=force, asks=ask)
        if not found.lets_in(its.rules.when, force=force):
            return _not_proven(its, found)
        by, why = "a flow", reason or None
        if ask:
            answer = _answer(its, found)
            by, why = f"{answer.name} in the Prefect UI", answer.reason
            if answer.answer == "refuse":
                return _refused(its, found, by, answer.reason)
        done = candidate.promoted(checkout, its, found, log.info, by=by, reason=why)
    now = f"{done.version.tag} has {done.assignment.stage}"
    _tell("promoted", its, f"{found.sentence} {now}.", version=done.version.tag, by=by)
    return Completed(message=f"{found.sentence} {now}")


def _not_proven(its: Candidate, found: Decision) -> State[None]:
    if found.verdict != "same":
        _tell("refused", its, refusal(found))
    return Failed(message=refusal(found))


def _decided(its: Candidate, *, force: bool, asks: bool) -> Decision:
    """Return what the candidate has proven, which becomes an artifact.

    How long a row takes is measured for the question, and is there to be read when somebody answers; measured
    once more it would be another number, which must not undo the answer.
    """
    say = get_run_logger().info
    if asks and _was_asked():
        return candidate.decided(root(), its.without_latency(), say, force=force, asks=True)
    found = candidate.decided(root(), its, say, force=force, asks=asks)
    document = render(VERDICT, candidate=its, decision=found, pictures=pictures(its.pictures()))
    publish_document("verdict", document, found.sentence)
    return found


def _was_asked() -> bool:
    """Return whether this run has waited for an answer, and begins anew."""
    with get_client(sync_client=True) as client:
        return KEY in (client.read_flow_run(runtime.flow_run.id).empirical_policy.pause_keys or ())


def _answer(its: Candidate, found: Decision) -> Answer:
    """Return what somebody answers; meanwhile this run holds no slot, and begins anew when it is resumed."""
    if not _was_asked():
        _tell("waiting", its, found.sentence)
    # the UI reads it as Markdown
    asked = f"{plain(found.sentence)}\n\nMay {plain(its.run.name)} have {its.stage} of {its.name}?"
    form = Answer.with_initial_data(description=f"{asked} Table and pictures are among this run's artifacts.")
    seconds = max(1, round(its.rules.ask_timeout_hours * HOUR))
    return suspend_flow_run(wait_for_input=form, timeout=seconds, key=KEY)


def _refused(its: Candidate, found: Decision, by: str, reason: str) -> State[None]:
    """Keep for good that somebody does not want a model that is proven."""
    say = get_run_logger().info
    version = candidate.refused(root(), its, found, say, by=by, reason=reason)
    told = f"{version.tag} is refused by {by}: {reason}"
    _tell("refused", its, told, version=version.tag, by=by)
    return Completed(name="Refused", message=told)


def _tell(what: events.What, its: Candidate, sentence: str, *, version: str = "", by: str = "") -> None:
    events.send(what, its.name, its.stage, sentence, run=its.run.name, version=version, by=by)


@flow(name="rollback", persist_result=False)
@fails_in_words
def rollback(to: str = "", stage: str = "", name: str = "", reason: str = "") -> State[None]:
    """Give a stage back to the version that had it before, or to any other.

    Args:
        to: The version, such as v0.0.3; empty: the one before the present one.
        stage: The stage; empty: promote.stage of params.yaml.
        name: The model's name in the registry; empty: promote.name of params.yaml, else package.name.
        reason: Why, in a sentence; it stands in the tag.
    """
    log = get_run_logger()
    given = (name or None, stage or None, to or None)
    done = roll_back(root(), *given, log.info, by="a flow", reason=reason or None)
    won = done.assignment
    told = f"{done.version.tag} has {won.stage} again; {won.record.replaced} had it"
    events.send("rolled-back", won.name, won.stage, told, version=done.version.tag, by="a flow")
    return Completed(message=told)
