"""Versions of models and their stages, as Git tags in GTO's convention: `NAME@v0.0.3`, `NAME#prod#4`.

The one with the highest number has the stage. A tag's message says in its first line what happened, and below
it in JSON what proved it. Tags come from outside as commits do: one that is malformed is no version, and what
its message says is shown, never trusted.
"""

import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from flows.git.commands import git
from tasks.shared.errors import InputError, readable
from tasks.shared.markup import UNSEEN

TAGS = "refs/tags"
# the verdict of a version that was proven, and that somebody did not want
REFUSED = "refused"
# as GTO has them (gto.constants.name), less the slash
PLAIN = r"[a-zA-Z0-9](?:[a-zA-Z0-9_-]*[a-zA-Z0-9])?"
NAME = rf"(?P<name>{PLAIN})"
VERSION = re.compile(
    NAME + r"@v(?P<major>0|[1-9]\d{0,8})\.(?P<minor>0|[1-9]\d{0,8})\.(?P<patch>0|[1-9]\d{0,8})"
)
ASSIGNMENT = re.compile(NAME + rf"#(?P<stage>{PLAIN})(?P<cancel>!?)#(?P<number>[1-9]\d{{0,8}})")
# the highest number that a tag can have and be read
LAST = 999_999_999
# bytes of a tag: a message that is longer is nobody's record
LARGEST = 1_000_000
TAGGER = re.compile(r"(?P<who>.* <.*>) (?P<when>\d+) [+-]\d{4}")
# where a signature begins, below the message
SIGNATURE = "\n-----BEGIN "
# characters of a word or sentence that are shown
LONGEST = 2000


def _told(text: str) -> str:
    """Return what somebody wrote as it can be shown: on one line, with nothing that a terminal acts on."""
    return " ".join(UNSEEN.sub(" ", text).split())[:LONGEST]


def _finite(scores: dict[str, float]) -> dict[str, float]:
    return {name: score for name, score in scores.items() if math.isfinite(score)}


Told = Annotated[str, AfterValidator(_told)]
Scores = Annotated[dict[Told, float], AfterValidator(_finite)]


class Record(BaseModel):
    """What a tag's message says of a version or an assignment; all of it may be missing."""

    model_config = ConfigDict(extra="ignore", hide_input_in_errors=True)

    # what the tags are called that were made together: one of them alone tells of both
    version: str | None = Field(None, pattern=r"^v\d+\.\d+\.\d+$", max_length=40)
    # the SHA-256 of the package, and the run that made it
    package: str | None = Field(None, pattern=r"^sha256:[0-9a-f]{64}$")
    run: Told | None = None
    scores: Scores = Field(default_factory=dict)
    verdict: Told | None = None
    sentence: Told | None = None
    evidence: dict[str, Any] = Field(default_factory=dict)
    # the version that it took the stage from
    replaced: Told | None = None
    reason: Told | None = None
    by: Told | None = None
    forced: bool = False
    # of the package (signing.py), as JSON
    signature: str | None = Field(None, max_length=LARGEST)


@dataclass(frozen=True)
class Version:
    """A version of a model: the commit that made it.

    has_tag: False where a kill has left the assignment alone, which tells of it; the next promotion makes it.
    """

    name: str
    numbers: tuple[int, int, int]
    commit: str
    who: str
    when: datetime | None
    record: Record
    has_tag: bool = True

    @property
    def version(self) -> str:
        """The version as people call it."""
        return f"v{'.'.join(map(str, self.numbers))}"

    @property
    def tag(self) -> str:
        """The name of its tag."""
        return f"{self.name}@{self.version}"


@dataclass(frozen=True)
class Assignment:
    """A stage that a commit has won; cancelled: it lost it, and nobody has the stage.

    at: what Git calls the tag itself, which tells it from another one of its name.
    """

    name: str
    stage: str
    number: int
    is_cancelled: bool
    commit: str
    who: str
    when: datetime | None
    record: Record
    at: str = ""

    @property
    def tag(self) -> str:
        """The name of its tag."""
        return f"{self.name}#{self.stage}{'!' if self.is_cancelled else ''}#{self.number}"


@dataclass(frozen=True)
class Registry:
    """All versions and assignments of a repository, the oldest first.

    taken: the names of all tags of their form, also of those that are passed over: no other can have them.
    """

    versions: tuple[Version, ...]
    assignments: tuple[Assignment, ...]
    taken: frozenset[str] = frozenset()

    def champion(self, name: str, stage: str) -> Assignment | None:
        """Return who has a stage; None when nobody has."""
        last = self.last(name, stage)
        return None if last is None or last.is_cancelled else last

    def last(self, name: str, stage: str) -> Assignment | None:
        """Return the assignment with the highest number."""
        its = [one for one in self.assignments if (one.name, one.stage) == (name, stage)]
        return max(its, key=lambda one: one.number, default=None)

    def of(self, name: str) -> list[Version]:
        """Return the versions of a model, the oldest first."""
        return sorted((one for one in self.versions if one.name == name), key=lambda one: one.numbers)

    def version_at(self, name: str, commit: str) -> Version | None:
        """Return the newest version of a model that a commit made."""
        return next((one for one in reversed(self.of(name)) if one.commit == commit), None)

    def next_version(self, name: str) -> str:
        """Return the version that comes after all others of a model."""
        found = [VERSION.fullmatch(tag) for tag in self.taken]
        numbers = [_numbers(one) for one in found if one and one["name"] == name]
        major, minor, patch = max(numbers, default=(0, 0, 0))
        _refuse_last(patch, f"{name}@v{major}.{minor}.{patch}")
        return f"v{major}.{minor}.{patch + 1}"

    def next_number(self, name: str, stage: str) -> int:
        """Return the number of the next assignment of a stage."""
        found = [ASSIGNMENT.fullmatch(tag) for tag in self.taken]
        its = [int(one["number"]) for one in found if one and (one["name"], one["stage"]) == (name, stage)]
        last = max(its, default=0)
        _refuse_last(last, f"{name}#{stage}#{last}")
        return last + 1


def signatures(known: Registry, version: Version) -> list[str]:
    """Return what has been signed of a version: when it was registered, and when it was given a stage."""
    records = [version.record]
    records += [one.record for one in known.assignments if one.name == version.name]
    return [one.signature for one in records if one.signature and one.package == version.record.package]


def _refuse_last(number: int, tag: str) -> None:
    if number >= LAST:
        remedy = f"find out who made it, then `git tag -d '{tag}'` here and at the Git remote"
        raise InputError(f"no number comes after that of the tag {tag}; {remedy}")


def refuse_odd_name(name: str, what: str) -> None:
    """Raise InputError for the name of a model or a stage that cannot stand in a tag."""
    if not re.fullmatch(PLAIN, name):
        allowed = "letters, digits, dashes and underscores, with a letter or digit at both ends"
        raise InputError(f"'{name}' cannot be the name of a {what} in the registry; take {allowed}")


def _numbers(version: re.Match[str]) -> tuple[int, int, int]:
    return int(version["major"]), int(version["minor"]), int(version["patch"])


@dataclass(frozen=True)
class _Tag:
    """An annotated tag of a commit, and what its message says."""

    at: str
    commit: str
    who: str
    when: datetime | None
    record: Record


def read(checkout: Path, name: str = "*") -> Registry:
    """Return the versions and assignments of one model, or of all, that this repository's tags tell of.

    A tag of their form that is none of a commit, or that was made under another name, is passed over.
    """
    patterns = (f"{TAGS}/{name}@v*", f"{TAGS}/{name}#*")
    listed = git(checkout, "for-each-ref", "--format=%(objectname) %(refname:strip=2)", *patterns)
    named = {}
    for line in listed.split("\n"):
        its, _, tag = line.partition(" ")
        if VERSION.fullmatch(tag) or ASSIGNMENT.fullmatch(tag):
            named[tag] = its
    versions, assignments = [], []
    for tag, told in _tags(checkout, named).items():
        by = (told.who, told.when, told.record)
        if found := VERSION.fullmatch(tag):
            versions.append(Version(found["name"], _numbers(found), told.commit, *by))
        elif found := ASSIGNMENT.fullmatch(tag):
            of = (found["name"], found["stage"], int(found["number"]), bool(found["cancel"]))
            assignments.append(Assignment(*of, told.commit, *by, told.at))
    assignments.sort(key=lambda one: (one.name, one.stage, one.number, one.is_cancelled))
    versions += _without_tag(versions, assignments)
    versions.sort(key=lambda one: (one.name, one.numbers))
    taken = {*named, *(one.tag for one in versions)}
    return Registry(tuple(versions), tuple(assignments), frozenset(taken))


def _without_tag(versions: Iterable[Version], assignments: Iterable[Assignment]) -> list[Version]:
    """Return the versions that only an assignment tells of."""
    commits = {(one.name, one.commit) for one in versions}
    tags = {one.tag for one in versions}
    found = []
    for one in assignments:
        its = VERSION.fullmatch(f"{one.name}@{one.record.version}")
        if its is None or its[0] in tags or (one.name, one.commit) in commits:
            continue
        found.append(
            Version(one.name, _numbers(its), one.commit, one.who, one.when, one.record, has_tag=False)
        )
        commits.add((one.name, one.commit))
        tags.add(its[0])
    return found


def _tags(checkout: Path, named: Mapping[str, str]) -> dict[str, _Tag]:
    """Return, of tags by their names, those that are annotated tags of a commit made under that name."""
    kinds = _kinds(checkout, named.values())
    objects = [its for its, (kind, size) in kinds.items() if kind == "tag" and size <= LARGEST]
    found = {}
    for its, text in _texts(checkout, objects):
        head, _, message = text.partition("\n\n")
        lines = dict(line.partition(" ")[::2] for line in head.split("\n"))
        name = lines.get("tag", "")
        if named.get(name) == its and lines.get("type") == "commit":
            found[name] = (its, lines, message)
    commits = _kinds(checkout, [lines.get("object", "") for _, lines, _ in found.values()])
    tags = {}
    for name, (its, lines, message) in found.items():
        commit = lines.get("object", "")
        if commits.get(commit, ("", 0))[0] == "commit":
            tags[name] = _Tag(its, commit, *_tagger(lines.get("tagger", "")), _record(message))
    return tags


def _kinds(checkout: Path, objects: Iterable[str]) -> dict[str, tuple[str, int]]:
    """Return what kinds of objects these are and how many bytes they have; without those that are missing.

    `for-each-ref` could tell, but stops at the first tag that is damaged.
    """
    asked = "".join(f"{its}\n" for its in sorted(set(objects)) if re.fullmatch("[0-9a-f]{40,64}", its))
    found = {}
    for line in git(checkout, "cat-file", "--batch-check", given=asked).splitlines() if asked else ():
        its, _, rest = line.partition(" ")
        kind, _, size = rest.partition(" ")
        if size.isdecimal():
            found[its] = (kind, int(size))
    return found


def _texts(checkout: Path, objects: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Yield objects by their names, and what stands in them."""
    asked = "".join(f"{its}\n" for its in sorted(objects))
    told = git(checkout, "cat-file", "--batch", given=asked) if asked else ""
    rest = told.encode("utf-8", "surrogateescape")
    while rest:
        line, _, rest = rest.partition(b"\n")
        its, _, size = line.decode("ascii").split(" ")
        yield its, rest[: int(size)].decode("utf-8", "replace")
        rest = rest[int(size) + 1 :]


def _tagger(line: str) -> tuple[str, datetime | None]:
    """Return who has made a tag, as it can be shown, and when; None for a time that there is not."""
    found = TAGGER.fullmatch(line)
    if found is None:
        return "", None
    try:
        when = datetime.fromtimestamp(int(found["when"]), UTC).astimezone()
    except (ValueError, OverflowError, OSError):
        when = None
    return _told(readable(found["who"])), when


def _record(message: str) -> Record:
    """Return what a tag's message says below its first line; nothing where that is no record."""
    _, _, body = message.partition("\n\n")
    try:
        record = Record.model_validate_json(body.partition(SIGNATURE)[0])
        # what no JSON can hold, such as a number that is infinite
        json.dumps(record.evidence, allow_nan=False)
    except (ValidationError, ValueError, RecursionError):
        return Record()
    return record
