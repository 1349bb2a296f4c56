"""Whether a package is what its version's tag says: its bytes, its manifest, its verdict, its signature."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from flows.registry import looks, signing
from flows.registry.candidate import Candidate, candidate
from flows.registry.decision import at_look, statistics
from flows.registry.looks import Look
from flows.registry.rollback import ROLLED_BACK
from flows.registry.tags import LAST, REFUSED, Assignment, Record, Registry, Version, signatures
from tasks.shared.errors import InputError
from tasks.shared.files import folder_digest, sha256
from tasks.shared.say import Say

MANIFEST = "MANIFEST.sha256"
# of a verdict: what is computed again from the statistics that the run has kept
COMPUTED = ("metric", "rows", "against", "difference", "interval", "level", "margin")
PROVEN = {"better", "worse", "equivalent", "inconclusive"}


@dataclass(frozen=True)
class Check:
    """One thing that was looked at. is_right: None where there was nothing to look at, as `said` says why."""

    what: Literal["package", "manifest", "verdict", "stage", "signature"]
    is_right: bool | None
    said: str


def verified(
    checkout: Path,
    known: Registry,
    version: Version,
    won: Assignment | None,
    folder: Path | None,
    public: Path | None,
    say: Say,
) -> list[Check]:
    """Return what there is to say of a version's package, out of the cache or as it lies in a folder.

    won: the assignment by which the version has a stage, where that was asked for.
    public: the key that must have signed it; None: signatures are not looked at.
    Raises InputError when the cache and the remote do not hold what the run made.
    """
    with candidate(checkout, version.commit, version.tag, say, name=version.name) as its:
        package = its.package if folder is None else folder
        found = [_package(version, its, package), _manifest(package)]
        found.append(_verdict(checkout, version.tag, version.who, version.record, its))
        if won is not None:
            found.append(_stage(checkout, version, won, its))
        return [*found, _signature(known, version, package, public)]


def _package(version: Version, its: Candidate, package: Path) -> Check:
    """Compare the bytes with the digest in the tag, and with what the commit's run made."""
    found = f"sha256:{folder_digest(package)}"
    said = version.record.package
    if said is None:
        return Check("package", False, f"the tag {version.tag} names no package")
    if said != its.compared.digest:
        made = f"the run at {version.commit[:10]} made {its.compared.digest[:19]}..."
        return Check("package", False, f"the tag {version.tag} says {said[:19]}..., but {made}")
    if found != said:
        return Check("package", False, f"it is {found[:19]}..., not {said[:19]}... as {version.tag} says")
    return Check("package", True, f"{found} as {version.tag} says")


def _manifest(package: Path) -> Check:
    """Compare each file with the manifest; nothing else may lie there, hidden files and links included."""
    try:
        listed = dict(_listed((package / MANIFEST).read_text("utf-8")))
    except (OSError, ValueError):
        return Check("manifest", False, f"there is no {MANIFEST} that can be read")
    files = [path for path in package.rglob("*") if path.is_symlink() or not path.is_dir()]
    there = {path.relative_to(package).as_posix(): path for path in files}
    there.pop(MANIFEST, None)
    for name in sorted({*there, *listed}):
        if name not in listed:
            return Check("manifest", False, f"{name} is not in {MANIFEST}")
        path = there.get(name)
        if path is None or path.is_symlink() or not path.is_file():
            return Check("manifest", False, f"{name} is in {MANIFEST}, but is no file here")
        if sha256(path) != listed[name]:
            return Check("manifest", False, f"{name} is not as {MANIFEST} says")
    return Check("manifest", True, f"{len(listed)} files, each as {MANIFEST} says")


def _listed(text: str) -> Iterator[tuple[str, str]]:
    """Yield each name and its SHA-256; raise ValueError for a line of another form."""
    for line in text.splitlines():
        digest, name = line.split("  ", 1)
        yield name, digest


def _stage(checkout: Path, version: Version, won: Assignment, its: Candidate) -> Check:
    """Look at the tag by which the version has its stage, as at that by which it was registered."""
    if won.record.package != version.record.package:
        return Check("stage", False, f"the tag {won.tag} names another package than {version.tag} does")
    if won.record.verdict == ROLLED_BACK:
        why = f": {won.record.reason}" if won.record.reason else ""
        return Check("stage", None, f"{won.tag}: {won.record.sentence or ROLLED_BACK}{why}")
    found = _verdict(checkout, won.tag, won.who, won.record, its)
    return Check("stage", found.is_right, f"{won.tag}: {found.said}")


def _verdict(checkout: Path, tag: str, who: str, record: Record, its: Candidate) -> Check:
    """Compute the verdict again from the run's statistics, at the look that the tag names."""
    if record.forced:
        return Check("verdict", None, f"forced by {who}: {record.reason}")
    number = record.evidence.get("look")
    is_look = isinstance(number, int) and 1 <= number <= LAST
    if not is_look or record.verdict not in {*PROVEN, REFUSED}:
        return Check("verdict", False, f"the tag {tag} has no verdict that statistics could prove")
    judged = its.compared.judged
    look = Look(number=number, candidate=its.compared.digest, other=judged.against)
    try:
        taken = looks.seen(checkout, its.name).of(look.candidate, look.other)
        found = at_look(its.compared, statistics(its.compared), its.rules, look)
    except InputError as error:
        return Check("verdict", False, str(error))
    if taken is not None and taken.number != number:
        return Check("verdict", False, f"the tag {tag} says look {number}, but it was look {taken.number}")
    is_same = all(_alike(record.evidence.get(name), found.evidence[name]) for name in COMPUTED)
    if not is_same or record.verdict not in (found.verdict, REFUSED):
        return Check("verdict", False, f"the run's statistics say something else: {found.sentence}")
    told = record.sentence or found.sentence
    if record.verdict == REFUSED:
        told = f"{told} It was refused by {record.by}: {record.reason}"
    return Check("verdict", True, told)


def _alike(one: Any, two: Any) -> bool:
    """Return whether two values are the same; numbers may differ by what another machine rounds."""
    if isinstance(one, list) and isinstance(two, list):
        return len(one) == len(two) and all(map(_alike, one, two))
    if isinstance(one, int | float) and isinstance(two, int | float):
        return math.isclose(one, two, rel_tol=1e-6, abs_tol=1e-9)
    return bool(one == two)


def _signature(known: Registry, version: Version, package: Path, public: Path | None) -> Check:
    found = signatures(known, version)
    if public is None:
        there = "it is signed" if found else "it is not signed"
        return Check("signature", None, f"{there}, and no key was given to check that with")
    if not found:
        return Check("signature", False, "it is not signed")
    why = [signing.why_unsigned(package, one, public) for one in found]
    if None in why:
        return Check("signature", True, f"made with the key of {public}")
    return Check("signature", False, f"not by the key of {public}: {why[0]}")
