"""Who has the stage that a run's model would win, found when it starts and kept for the stage `judge`."""

from pathlib import Path

from flows.ledger.results import LostError
from flows.registry.tags import Assignment, Version, read
from tasks.shared import champions
from tasks.shared.errors import InputError
from tasks.shared.params import Params
from tasks.shared.say import Say


def resolved(params: Params, checkout: Path, say: Say) -> str | None:
    """Return the digest of the champion's package, kept where stages find it; None where there is none.

    Neither is there one when its package is neither in the cache nor on the remote, which is said: the run
    makes its model all the same. Raises InputError when the package is another one than its tag says.
    """
    name, stage = params.registered_name, params.promote.stage
    champion = read(checkout, name).champion(name, stage)
    if champion is None:
        return None
    try:
        digest = kept(champion, checkout, say)
    except LostError as error:
        say(f"warning: {error}; until then no model is compared with {champion.tag}, or takes its place")
        return None
    its = champions.fetch(digest).params.get("problem")
    if its == params.problem:
        return digest
    other = f"{champion.tag} is a model of {its}, so this one of {params.problem} is not compared with it"
    say(f"warning: {other}; give it a promote.name of its own")
    return None


def kept(champion: Assignment | Version, checkout: Path, say: Say) -> str:
    """Keep the package of a version and the rows that it knows; return its digest."""
    digest = champion.record.package
    if digest is not None and champions.is_kept(digest):
        return digest
    # DVC is imported only where it is needed
    from flows.ledger import packages

    found = packages.keep_champion(checkout, champion.commit, champion.tag, say)
    if digest not in (None, found):
        other = f"the package of {champion.tag} is {found[:19]}..., not {str(digest)[:19]}... as its tag says"
        raise InputError(f"{champions.PARAM}: {other}; find out who made that tag, then `git tag -d` it")
    return found


def keep_named(digest: str, checkout: Path, say: Say) -> None:
    """Keep the package with this digest, where some version in the registry has it and it is not kept yet."""
    if champions.is_kept(digest):
        return
    for one in read(checkout).assignments:
        if one.record.package == digest:
            kept(one, checkout, say)
            return
