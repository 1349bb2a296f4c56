"""Giving a stage back to a version that had it, or to any other: in seconds, from the cache, offline too."""

import re
from pathlib import Path

from flows.git.remotes import UnreachableError
from flows.ledger.experiments import shared_with
from flows.registry import sharing
from flows.registry.promotion import Promoted, assign
from flows.registry.tags import Assignment, Record, Registry, Version, read, refuse_odd_name
from tasks.shared.errors import InputError, did_you_mean
from tasks.shared.params_file import PARAMS, load
from tasks.shared.say import Say

ROLLED_BACK = "rolled back"
# what is meant for a version, not for a stage
NUMBERED = re.compile(r"(.*@)?v?\d")


def roll_back(
    checkout: Path,
    name: str | None,
    stage: str | None,
    to: str | None,
    say: Say,
    *,
    by: str,
    reason: str | None = None,
) -> Promoted:
    """Give a stage to an earlier version, the one before the present one unless `to` names it.

    name, stage: what params.yaml says, unless they are given.
    Where the Git remote cannot be reached it holds here, and is sent by the next command that reaches it.
    Raises InputError when there is no such version, or its package is neither in the cache nor on the remote.
    """
    name, stage = _here(checkout, name, stage)
    refuse_odd_name(name, "model")
    refuse_odd_name(stage, "stage")
    remote = _reached(checkout, name, say)
    known = read(checkout, name)
    now = known.champion(name, stage)
    if now is None:
        raise InputError(f"nobody has {stage} of {name}, so there is nothing to roll back; `retrain models`")
    target = _before(known, name, stage) if to is None else named(known, name, to)
    if target.commit == now.commit:
        raise InputError(f"{target.tag} has {stage} already ({now.tag})")
    record = _record(known, now, target, _whole(checkout, target, say))
    record = record.model_copy(update={"reason": reason, "by": by})
    try:
        return assign(checkout, remote, name, stage, target.commit, record, replaces=now, say=say)
    except UnreachableError as error:
        _warn(error, say)
    return assign(checkout, None, name, stage, target.commit, record, replaces=now, say=say)


def _reached(checkout: Path, name: str, say: Say) -> str | None:
    """Return the Git remote once the tags here are as it has them; None where it cannot be reached."""
    remote = shared_with(checkout)
    try:
        sharing.synchronised(checkout, remote, name, say)
    except UnreachableError as error:
        _warn(error, say)
        return None
    return remote


def _warn(error: InputError, say: Say) -> None:
    say(f"warning: {error}; it holds here, and is sent by the next command that reaches the remote")


def _whole(checkout: Path, version: Version, say: Say) -> str:
    """Return the digest of a version's package, out of the DVC cache or its remote; InputError without it."""
    # DVC is imported only where it is needed
    from flows.ledger import packages
    from flows.ledger.history import committed
    from tasks.shared.files import folder_digest

    run = committed(checkout, version.commit, version.tag)
    with packages.TakenOut(checkout, run, "nothing is rolled back", say) as out:
        found = f"sha256:{folder_digest(out.folder(packages.PACKAGE))}"
    said = version.record.package
    if said not in (None, found):
        other = f"the package of {version.tag} is {found[:19]}..., not {str(said)[:19]}... as its tag says"
        raise InputError(f"nothing is rolled back: {other}; find out who made that tag")
    return found


def _record(known: Registry, now: Assignment, target: Version, digest: str) -> Record:
    present = known.version_at(now.name, now.commit)
    undone = present.tag if present else now.tag
    return Record(
        package=digest,
        run=target.record.run,
        scores=target.record.scores,
        verdict=ROLLED_BACK,
        sentence=f"Rolled back from {undone}.",
        replaced=undone,
    )


def named(known: Registry, name: str, version: str) -> Version:
    """Return a version by what people call it: v0.0.3, 0.0.3 or NAME@v0.0.3; raise InputError without one."""
    its = known.of(name)
    short = version.rpartition("@")[2].removeprefix("v")
    for one in its:
        if one.version == f"v{short}" and version.rpartition("@")[0] in ("", name):
            return one
    there = [one.version for one in its]
    listed = ", ".join(there) or "none"
    raise InputError(f"{name} has no version '{version}'{did_you_mean(f'v{short}', there)} It has {listed}")


def meant(checkout: Path, name: str | None, which: str | None) -> tuple[Registry, Version, Assignment | None]:
    """Return a model's registry, the version that has a stage or is called so, and how it got the stage.

    name, which: what params.yaml says of model and stage, unless they are given. Raises InputError when there
    is no such version.
    """
    name, which = _here(checkout, name, which)
    known = read(checkout, name)
    won = known.champion(name, which)
    version = known.version_at(name, won.commit) if won else None
    if version is None and not NUMBERED.match(which):
        raise InputError(f"nobody has {which} of {name}; `retrain models {name}` lists its versions")
    return known, version or named(known, name, which), won


def _here(checkout: Path, name: str | None, stage: str | None) -> tuple[str, str]:
    """Return a model's name and a stage: what params.yaml says, unless they are given."""
    if name is None or stage is None:
        params = load(checkout / PARAMS)
        name, stage = name or params.registered_name, stage or params.promote.stage
    return name, stage


def _before(known: Registry, name: str, stage: str) -> Version:
    """Return the version that had the stage before the present one.

    What a roll back has undone is not before it: a second one goes further back.
    """
    had: list[str] = []
    for one in known.assignments:
        if (one.name, one.stage) != (name, stage) or one.is_cancelled:
            continue
        if one.record.verdict == ROLLED_BACK and one.commit in had:
            del had[had.index(one.commit) :]
        had.append(one.commit)
    for commit in reversed(had[:-1]):
        version = known.version_at(name, commit)
        if version is not None and commit != had[-1]:
            return version
    raise InputError(f"no other version of {name} has had {stage}; name one with --to ({name}@vX.Y.Z)")
