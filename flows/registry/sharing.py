"""Tags of a model, and looks, on the Git remote that experiments go to, where runs are shared at all.

That is where DVC's `exp.auto_push` is true: `exp.git_remote`, else origin. What stands there decides: where
it has gone on without what was made here, all tags that only this repository has of a model are dropped, and
said. Nothing is ever forced.
"""

import time
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

from flows.git.commands import git
from flows.git.refs import NONE, STALE, change
from flows.git.remotes import SENT, UnreachableError, asked, fetch, quiet
from flows.ledger.experiments import untracked_in
from flows.registry.tags import ASSIGNMENT, TAGS, VERSION, read
from tasks.shared.errors import InputError
from tasks.shared.say import Say

TRIES = 20
# in Git's words, when another holds the lock of a ref
LOCKED = "cannot lock ref"


def synchronised(checkout: Path, remote: str | None, name: str, say: Say) -> None:
    """Have the tags of a model here as the remote has them, and send what only this repository has.

    Nothing is done without a remote. Raises UnreachableError when it cannot be reached.
    """
    for _ in range(TRIES) if remote is not None else ():
        theirs = _listed(asked(checkout, str(remote), (f"{TAGS}/{name}@v*", f"{TAGS}/{name}#*")))
        mine = _listed(git(checkout, "for-each-ref", "--format=%(objectname)%09%(refname)", TAGS), name)
        own = {tag: its for tag, its in mine.items() if theirs.get(tag) != its}
        lost = own if any(_is_lost(tag, theirs) for tag in own) else {}
        missing = {tag: its for tag, its in theirs.items() if mine.get(tag) != its}
        if not _brought(checkout, str(remote), mine, missing, lost):
            continue
        for tag in lost:
            say(f"warning: {tag} was made here while the Git remote went on without it, so it is dropped")
        known = read(checkout, name)
        sound = {*(one.tag for one in known.versions), *(one.tag for one in known.assignments)}
        unsent = {tag: its for tag, its in own.items() if tag in sound}
        if lost or not unsent or pushed(checkout, str(remote), unsent):
            return
    if remote is not None:
        raise InputError(f"the tags of {name} change at the Git remote again and again; try once more")


def pushed(checkout: Path, remote: str, objects: Mapping[str, str]) -> bool:
    """Push tags that the remote does not have, all or none; return False when it has one of them by now.

    Raises UnreachableError when it cannot be reached.
    """
    _refuse_untracked(checkout, objects)
    return _sent(checkout, remote, "the tags", {f"{TAGS}/{tag}": its for tag, its in objects.items()}, {})


def brought(checkout: Path, remote: str, ref: str) -> str | None:
    """Have what the remote's ref names here too, and return it; None where there is no such ref.

    No ref is made here. Raises UnreachableError when the remote cannot be reached.
    """
    its = _at(checkout, remote, [ref]).get(ref)
    if its is not None:
        fetch(checkout, remote, [ref], "its looks")
    return its


def moved(checkout: Path, remote: str, ref: str, new: str, old: str | None) -> bool:
    """Move the remote's ref from `old` (None: it was not there) to `new`, which comes after it.

    Returns False when another has moved it. Raises UnreachableError when the remote cannot be reached.
    """
    return _sent(checkout, remote, "the look", {ref: new}, {ref: old} if old else {})


def _sent(
    checkout: Path, remote: str, what: str, wanted: Mapping[str, str], before: Mapping[str, str]
) -> bool:
    """Push refs, all or none, unless the remote has them otherwise than before by now."""
    refs = [f"{its}:{ref}" for ref, its in wanted.items()]
    words = ("push", "--quiet", "--atomic", "--", remote, *refs)
    end = time.monotonic() + STALE
    while True:
        try:
            git(checkout, *words, env=quiet(checkout), seconds=SENT)
        except InputError as error:
            theirs = _at(checkout, remote, wanted)
            if theirs != before:
                # all as wanted: it was done, and only the answer was lost
                return theirs == wanted
            # another is just making one of them
            if LOCKED in str(error) and time.monotonic() < end:
                time.sleep(0.1)
                continue
            raise UnreachableError(f"Git remote '{remote}' does not take {what}: {error}") from None
        return True


def _refuse_untracked(checkout: Path, objects: Mapping[str, str]) -> None:
    """Raise UnreachableError when a tag would bring others files that Git does not track here."""
    commits = git(checkout, "rev-parse", *(f"{its}^{{commit}}" for its in objects.values())).splitlines()
    for tag, commit in zip(objects, commits, strict=True):
        if untracked := untracked_in(checkout, commit):
            what = f"{tag} is of a run that holds what Git does not track: {', '.join(untracked)}"
            remedy = "`git add` what everybody may see, or ignore it, and promote a run without"
            raise UnreachableError(f"{what}, which would go to the Git remote with it; {remedy}")


def here(checkout: Path, tags: Iterable[str]) -> dict[str, str]:
    """Return what those of the tags that are here are at, by their names."""
    refs = [f"{TAGS}/{tag}" for tag in tags]
    return _listed(git(checkout, "for-each-ref", "--format=%(objectname)%09%(refname)", *refs))


def _at(checkout: Path, remote: str, refs: Collection[str]) -> dict[str, str]:
    """Return what those of the refs that the remote has are at."""
    found = {}
    for line in asked(checkout, remote, refs).splitlines():
        its, _, ref = line.partition("\t")
        # Git lists what ends like this, too
        if ref in refs:
            found[ref] = its
    return found


def _brought(
    checkout: Path, remote: str, mine: Mapping[str, str], missing: Mapping[str, str], lost: Mapping[str, str]
) -> bool:
    """Have the remote's tags here, and no lost ones; return False when one has moved here meanwhile."""
    if missing:
        fetch(checkout, remote, [f"{TAGS}/{tag}" for tag in missing], "its tags")
    wanted = [f"update {TAGS}/{tag} {its} {mine.get(tag, NONE)}\n" for tag, its in missing.items()]
    wanted += [f"delete {TAGS}/{tag} {its}\n" for tag, its in lost.items() if tag not in missing]
    try:
        if wanted:
            change(checkout, "update-ref", "--stdin", given="".join(wanted))
    except InputError:
        # another command of ours may have done the same
        seen = {tag: its for tag, its in mine.items() if tag in missing or tag in lost}
        if here(checkout, {**missing, **lost}) == seen:
            raise
        return False
    return True


def _listed(told: str, name: str | None = None) -> dict[str, str]:
    """Return what tags are at, by their names; what is no tag of ours, or of another model, is left alone."""
    found = {}
    for line in told.splitlines():
        its, _, ref = line.partition("\t")
        tag = ref.removeprefix(f"{TAGS}/")
        parts = VERSION.fullmatch(tag) or ASSIGNMENT.fullmatch(tag)
        if parts and name in (None, parts["name"]):
            found[tag] = its
    return found


def _is_lost(tag: str, theirs: Mapping[str, str]) -> bool:
    """Return whether a tag of ours has lost: the remote has it otherwise, or has gone past it."""
    its = ASSIGNMENT.fullmatch(tag)
    if tag in theirs or its is None:
        return tag in theirs
    others = [ASSIGNMENT.fullmatch(other) for other in theirs]
    numbers = [int(one["number"]) for one in others if one and one["stage"] == its["stage"]]
    return int(its["number"]) <= max(numbers, default=0)
