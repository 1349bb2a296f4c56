"""Give a run's model a stage once that is proven, and approved where somebody is asked; or give it back."""

from pathlib import Path
from typing import Literal

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.events import emit_event
from prefect.flow_runs import suspend_flow_run
from prefect.input import RunInput
from prefect.logging import get_run_logger
from prefect.states import Completed, Failed
from pydantic import Field

from flows.engine.stage import fails_in_words
from flows.engine.workspace import root
from flows.ledger.experiments import commit_named
from flows.registry import candidate
from flows.registry.decision import Decision
from flows.registry.rollback import roll_back
from flows.report.artifacts import publish_document
from tasks.shared.errors import InputError
from tasks.shared.markup import plain
from tasks.shared.params_file import PARAMS, load
from tasks.shared.templates import render

HOUR = 3600
VERDICT = Path(__file__).parent / "report/templates/verdict.md.j2"


class Answer(RunInput):
    """What becomes of a model that waits. Prefect's open source knows no users: whoever answers signs."""

    answer: Literal["approve", "refuse"] = Field(description="Whether the model is given the stage.")
    name: str = Field(min_length=1, max_length=100, description="Who answers; it stands in the tag.")
    reason: str = Field(min_length=1, max_length=1000, description="Why; it stands in the tag.")


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
        found = candidate.decided(checkout, its, log.info)
        publish_document("verdict", render(VERDICT, candidate=its, decision=found), plain(found.sentence))
        is_proven = found.allows(its.rules.when)
        if found.verdict == "same" or not (is_proven or force):
            return Failed(message=f"{found.sentence} Not promoted.")
        by, why = "a flow", reason or None
        if ask:
            answer = _answer(its.rules.ask_timeout_hours)
            by, why = f"{answer.name} in the Prefect UI", answer.reason
            if answer.answer == "refuse":
                version = candidate.refused(checkout, its, found, log.info, by=by, reason=why)
                _tell("refused", version.tag, found)
                told = f"{version.tag} is refused by {plain(by)}: {plain(why)}"
                return Completed(name="Refused", message=told)
        done = candidate.promoted(checkout, its, found, log.info, by=by, reason=why, forced=not is_proven)
    _tell("promoted", done.version.tag, found)
    return Completed(message=f"{plain(found.sentence)} {done.version.tag} has {done.assignment.stage}")


def _answer(hours: float) -> Answer:
    """Return what somebody answers; meanwhile this run holds no slot, and begins anew when it is resumed."""
    asked = "Whether this model is given the stage: its verdict is among this run's artifacts."
    form = Answer.with_initial_data(description=asked)
    return suspend_flow_run(wait_for_input=form, timeout=round(hours * HOUR), key="approval")


def _tell(what: str, version: str, found: Decision) -> None:
    """Send the event retrain.model.promoted or retrain.model.refused."""
    resource = {"prefect.resource.id": f"retrain.model.{version}", "prefect.resource.name": version}
    payload = {"verdict": found.verdict, "sentence": found.sentence}
    emit_event(f"retrain.model.{what}", resource, payload=payload)


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
    checkout = root()
    params = load(checkout / PARAMS)
    name = name or params.promote.name_for(params.package.name)
    stage = stage or params.promote.stage
    log = get_run_logger()
    done = roll_back(checkout, name, stage, to or None, log.info, by="a flow", reason=reason or None)
    undone = done.assignment.record.replaced
    resource = {"prefect.resource.id": f"retrain.model.{done.version.tag}"}
    emit_event("retrain.model.rolled-back", resource, payload={"replaced": undone})
    return Completed(message=f"{done.version.tag} has {stage} again; {undone} had it")
