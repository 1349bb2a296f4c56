"""Giving a version a stage: its tags are made if absent, both or none, and shared where runs are.

The number of an assignment is one more than that of the one before. So where two promote at once, or one was
asleep for a day, one finds its number taken: Git makes a tag that is not there, or refuses. What a kill
leaves is whole: tags are pushed before they are made here, so the next command fetches them; and an
assignment, which is made first, tells of its version too.
"""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from flows.git.commands import git, identity
from flows.git.refs import NONE, change
from flows.ledger.experiments import shared_with
from flows.registry import sharing
from flows.registry.tags import TAGS, Assignment, Record, Registry, Version, read, refuse_odd_name
from tasks.shared.errors import InputError
from tasks.shared.say import Say

# others may register versions meanwhile, in other stages
TRIES = 20


@dataclass(frozen=True)
class Promoted:
    """A version and the stage that it has now."""

    version: Version
    assignment: Assignment


def promote(
    checkout: Path,
    name: str,
    stage: str,
    commit: str,
    record: Record,
    *,
    replaces: Assignment | None,
    say: Say,
) -> Promoted:
    """Give a commit's model a stage, with a version of its own if it has none; return what it is now.

    replaces: the stage's last assignment when the model was compared with its holder; None where there was
    none. Raises InputError when another has been made meanwhile, and when the Git remote cannot be reached.
    """
    refuse_odd_name(name, "model")
    refuse_odd_name(stage, "stage")
    remote = shared_with(checkout)
    sharing.synchronised(checkout, remote, name, say)
    return assign(checkout, remote, name, stage, commit, record, replaces=replaces, say=say)


def register(checkout: Path, name: str, commit: str, record: Record, say: Say) -> Version:
    """Give a commit's model a version without a stage, or return the one that it has."""
    refuse_odd_name(name, "model")
    remote = shared_with(checkout)
    for _ in range(TRIES):
        sharing.synchronised(checkout, remote, name, say)
        known = read(checkout, name)
        if (version := known.version_at(name, commit)) is not None:
            return version
        said = record.model_copy(update={"version": known.next_version(name)})
        tag = f"{name}@{said.version}"
        objects = {tag: _object(checkout, tag, commit, _message(f"Register {tag}", said), _now(None))}
        if remote is None or sharing.pushed(checkout, remote, objects):
            _created(checkout, objects)
    raise InputError(f"others register versions of {name} again and again; try once more")


def assign(
    checkout: Path,
    remote: str | None,
    name: str,
    stage: str,
    commit: str,
    record: Record,
    *,
    replaces: Assignment | None,
    say: Say,
) -> Promoted:
    """Do so once the tags here are those of the remote; None: it holds here alone, and is sent later."""
    for attempt in range(TRIES):
        if attempt:
            sharing.synchronised(checkout, remote, name, say)
        known = read(checkout, name)
        last = known.last(name, stage)
        if (last and last.at) != (replaces and replaces.at):
            raise InputError(_overtaken(known, last, stage))
        objects = _written(checkout, known, stage, commit, name, record)
        if remote is not None and not sharing.pushed(checkout, remote, objects):
            continue
        if _created(checkout, objects):
            return _promoted(checkout, name, commit, next(iter(objects)))
    raise InputError(f"others register versions of {name} again and again; try once more")


def _promoted(checkout: Path, name: str, commit: str, tag: str) -> Promoted:
    known = read(checkout, name)
    version = known.version_at(name, commit)
    assignment = next((one for one in known.assignments if one.tag == tag), None)
    if version is None or assignment is None:
        raise InputError(
            f"{tag} is gone again: somebody has removed it; `retrain models` shows what there is"
        )
    return Promoted(version, assignment)


def _overtaken(known: Registry, last: Assignment | None, stage: str) -> str:
    lost = "this model was compared with another, so it is not promoted; run again"
    if last is None:
        return f"nobody has had {stage} at the Git remote: {lost}"
    version = known.version_at(last.name, last.commit)
    which = version.tag if version else last.commit[:10]
    what = f"{which} has lost {stage}" if last.is_cancelled else f"{which} has been given {stage}"
    return f"{what} meanwhile ({last.tag}): {lost}"


def _written(
    checkout: Path, known: Registry, stage: str, commit: str, name: str, record: Record
) -> dict[str, str]:
    """Write the tags that are to be made, the assignment first; return their objects by their names."""
    version = known.version_at(name, commit)
    number = version.version if version else known.next_version(name)
    assignment = f"{name}#{stage}#{known.next_number(name, stage)}"
    said = record.model_copy(update={"version": number})
    messages = {assignment: _message(f"Assign {stage} to {name}@{number}", said)}
    if version is None:
        messages[f"{name}@{number}"] = _message(f"Register {name}@{number}", said)
    commits = dict.fromkeys(messages, commit)
    for one in known.of(name):
        if not one.has_tag:
            messages[one.tag], commits[one.tag] = _message(f"Register {one.tag}", one.record), one.commit
    at = _now(known.last(name, stage))
    return {tag: _object(checkout, tag, commits[tag], said, at) for tag, said in messages.items()}


def _message(first: str, record: Record) -> str:
    said = json.dumps(record.model_dump(exclude_none=True), indent=1, ensure_ascii=False)
    return f"{first}\n\n{said}\n"


def _now(last: Assignment | None) -> int:
    """Return a time for a tag: `dvc artifacts get --stage` takes the latest, and clocks are set back."""
    before = int(last.when.timestamp()) if last and last.when else 0
    return max(int(time.time()), before + 1)


def _object(checkout: Path, tag: str, commit: str, message: str, at: int) -> str:
    """Write an annotated tag that no ref names yet, and return what Git calls it."""
    ident = git(checkout, "var", "GIT_COMMITTER_IDENT", env=identity(checkout))
    who = ident.rpartition(">")[0] + ">"
    head = f"object {commit}\ntype commit\ntag {tag}\ntagger {who} {at} +0000\n"
    return git(checkout, "mktag", given=f"{head}\n{message}")


def _created(checkout: Path, objects: Mapping[str, str]) -> bool:
    """Make refs of all tags, or of none when one is there already; return whether they were made.

    A tag that is there as it is to be was fetched from where it has just been pushed.
    """
    there = sharing.here(checkout, objects)
    if any(there.get(tag, its) != its for tag, its in objects.items()):
        return False
    wanted = [f"update {TAGS}/{tag} {its} {there.get(tag, NONE)}\n" for tag, its in objects.items()]
    try:
        change(checkout, "update-ref", "--stdin", given="".join(wanted))
    except InputError:
        now = sharing.here(checkout, objects)
        if not now:
            raise
        # Git may have been killed after the first, which tells of the others
        first = next(iter(objects))
        return now.get(first) == objects[first]
    return True
