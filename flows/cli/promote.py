"""`retrain promote` and `retrain rollback`."""

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

from flows.cli.common import FAILED, OK, AsJson, Flag, say
from flows.server import configured
from tasks.shared.markup import shown

if TYPE_CHECKING:
    from flows.registry.decision import Decision
    from flows.registry.promotion import Promoted
    from flows.report.events import What


def promote(
    run: str | None = None,
    /,
    *,
    name: str | None = None,
    stage: str | None = None,
    force: Flag = False,
    reason: str | None = None,
    as_json: AsJson = False,
) -> int:
    """Give a run's model the stage, if it is shown to be better than the one that has it.

    A first model must be better than its best baseline. The rule stands in the section `promote` of params:
    the interval of the difference must lie beyond the margin, and the more often the test rows have been
    looked at, the wider it is. Exit status: 0 promoted, 1 not.

    Examples: `retrain promote`, `retrain promote sly-fox --stage staging`,
    `retrain promote HEAD --force --reason "the champion answers in the wrong language"`.

    Parameters
    ----------
    run
        An experiment, or a commit, branch or tag of a run; the newest run that ended unless it is given. If
        that is not committed, it is saved as an experiment first.
    name
        The model's name in the registry: promote.name, else package.name.
    stage
        The stage: promote.stage.
    force
        Promote it although nothing is proven; the reason stands in the tag.
    reason
        Why, in a sentence.
    as_json
        Print JSON.
    """
    from flows.engine import workspace
    from flows.registry import candidate
    from flows.registry.newest import newest_run
    from flows.registry.policy import refusal
    from tasks.shared.errors import InputError

    if force and not reason:
        raise InputError("--force needs a --reason, which will stand in the tag")
    checkout = workspace.root()
    os.chdir(checkout)
    run, commit = newest_run(checkout, say) if run is None else _named(checkout, run)
    with candidate.candidate(checkout, commit, run, say, name=name, stage=stage) as its:
        found = candidate.decided(checkout, its, say, force=force)
        done = None
        if found.lets_in(its.rules.when, force=force):
            done = candidate.promoted(checkout, its, found, say, by="hand", reason=reason)
    # others hear of it although nobody may read this any more
    if done:
        now = f"{done.version.tag} has {done.assignment.stage}"
        sentence = f"{found.sentence} {now}."
        _send(checkout, "promoted", its.name, its.stage, sentence, its.run.name, done.version.tag)
    elif found.verdict != "same":
        _send(checkout, "refused", its.name, its.stage, refusal(found), its.run.name)
    _tell(found, done, as_json=as_json)
    return OK if done or found.verdict == "same" else FAILED


def rollback(
    *,
    to: str | None = None,
    name: str | None = None,
    stage: str | None = None,
    reason: str | None = None,
) -> int:
    """Give the stage back to the version that had it before, or to any other; its package is checked first.

    It takes seconds and needs no network. Examples: `retrain rollback`, `retrain rollback --to v0.0.1`.

    Parameters
    ----------
    to
        The version; the one before the present one unless it is given.
    name
        The model's name in the registry: promote.name, else package.name.
    stage
        The stage: promote.stage.
    reason
        Why, in a sentence; it stands in the tag.
    """
    from flows.engine import workspace
    from flows.registry.rollback import roll_back

    checkout = workspace.root()
    os.chdir(checkout)
    done = roll_back(checkout, name, stage, to, say, by="hand", reason=reason)
    won, lost = done.assignment, done.assignment.record.replaced
    sentence = f"{done.version.tag} has {won.stage} again; {lost} had it"
    _send(checkout, "rolled-back", won.name, won.stage, sentence, version=done.version.tag)
    print(f"{done.version.tag} has {won.stage} again ({won.tag}); {lost} had it")
    return OK


def _send(
    checkout: Path, what: "What", name: str, stage: str, sentence: str, run: str = "", version: str = ""
) -> None:
    """Send the event to the Prefect server that is configured, if there is one that answers."""
    server, fault = configured.found(checkout)
    if fault is not None:
        say(f"warning: nobody is told of it: {fault}")
    if server is None or fault is not None:
        return
    # Prefect is imported only where there is somebody to tell
    from flows.report import events

    events.send(what, name, stage, sentence, run=run, version=version, by="hand")


def _named(checkout: Path, run: str) -> tuple[str, str]:
    from flows.ledger.experiments import commit_named

    commit = commit_named(checkout, run)
    # HEAD is another commit tomorrow
    return commit[:10] if run == "HEAD" else run, commit


def _tell(found: "Decision", done: "Promoted | None", *, as_json: bool) -> None:
    if as_json:
        tags = {"version": done.version.tag, "assignment": done.assignment.tag} if done else {}
        print(json.dumps({**found.to_dict(), "promoted": tags or None}, indent=2))
        return
    # names of metrics and slices come from the run's commit
    print(shown(found.sentence))
    for reason in found.held:
        print(shown(f"Held: {reason}."))
    if done:
        print(f"Promoted: {done.version.tag} has {done.assignment.stage} ({done.assignment.tag}).")
    elif found.verdict != "same":
        print("Not promoted.")
