"""How often the test rows of a name have been looked at: each comparison spends some of what they can prove.

A look is a commit of a ref of its own, `refs/retrain/looks/NAME`, after the look before it: its tree holds
`look.json` and `rows`, the first eight bytes of the ids of the test rows that no earlier look had seen. Looks
are counted until no test row has been looked at before.
"""

import json
from base64 import b64decode, b64encode
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, Field, ValidationError

from flows.git.commands import git, identity
from flows.git.refs import commit_at, set_ref
from tasks.shared.errors import InputError

REF = "refs/retrain/looks"
FILES = ("look.json", "rows")
SIZE = 8  # bytes of an id
TRIES = 20


class Look(BaseModel):
    """A comparison of two packages, by their digests, or of one with a baseline."""

    number: int = Field(ge=1)
    candidate: str
    other: str
    # test rows that no earlier look had seen
    new_rows: int = Field(0, ge=0)


@dataclass(frozen=True)
class Seen:
    """The looks since all test rows were new, the newest first, and the rows that they have seen."""

    looks: tuple[Look, ...] = ()
    rows: frozenset[bytes] = frozenset()

    def of(self, candidate: str, other: str) -> Look | None:
        """Return the look at these two, if there was one."""
        return next((look for look in self.looks if (look.candidate, look.other) == (candidate, other)), None)


def seen(checkout: Path, name: str) -> Seen:
    """Return the looks of a name's candidates; raise InputError when one is no record."""
    looks: list[Look] = []
    rows: set[bytes] = set()
    for commit, record, told in _records(checkout, f"{REF}/{name}"):
        try:
            look = Look.model_validate_json(record)
            rows |= {b64decode(line, validate=True) for line in told.split()}
        except (ValidationError, ValueError):
            what = f"{REF}/{name} holds what is no record of a look ({commit[:10]})"
            remedy = f"find out who wrote it, then `git update-ref -d {REF}/{name}`"
            raise InputError(f"{what}; {remedy}") from None
        looks.append(look)
        if look.number == 1:
            break
    return Seen(tuple(looks), frozenset(rows))


def _records(checkout: Path, ref: str) -> Iterator[tuple[str, bytes, bytes]]:
    """Yield each look's commit, look.json and rows, the newest first; empty where there is no such file."""
    tip = commit_at(checkout, ref)
    commits = git(checkout, "rev-list", "--first-parent", tip).splitlines() if tip else []
    asked = [f"{commit}:{file}\n" for commit in commits for file in FILES]
    told = git(checkout, "cat-file", "--batch", given="".join(asked)) if asked else ""
    left = f"{told}\n".encode(errors="surrogateescape")
    for commit in commits:
        found = []
        for _ in FILES:
            head, _, left = left.partition(b"\n")
            size = int(head.split()[-1]) if b" blob " in head else None
            found.append(left[:size] if size is not None else b"")
            left = left if size is None else left[size + 1 :]
        yield commit, found[0], found[1]


def take(checkout: Path, name: str, candidate: str, other: str, ids: Iterable[str]) -> Look:
    """Count a look at two models on test rows, by their ids, and return it; the same pair is one look."""
    rows = {_short(one) for one in ids}
    ref = f"{REF}/{name}"
    for _ in range(TRIES):
        tip = commit_at(checkout, ref)
        known = seen(checkout, name)
        if (there := known.of(candidate, other)) is not None:
            return there
        starts_afresh = known.rows.isdisjoint(rows)
        number = 1 if starts_afresh else known.looks[0].number + 1
        new = rows - known.rows
        look = Look(number=number, candidate=candidate, other=other, new_rows=len(new))
        if set_ref(checkout, ref, _commit(checkout, look, new, tip), tip):
            return look
    raise InputError(f"{ref} is moved by others again and again; try once more")


def _commit(checkout: Path, look: Look, rows: Iterable[bytes], parent: str | None) -> str:
    texts = {
        "look.json": json.dumps(look.model_dump(), indent=1) + "\n",
        "rows": "".join(f"{b64encode(row).decode()}\n" for row in sorted(rows)),
    }
    entries = []
    for name, text in texts.items():
        blob = git(checkout, "hash-object", "-w", "--stdin", given=text)
        entries.append(f"100644 blob {blob}\t{name}\n")
    tree = git(checkout, "mktree", given="".join(entries))
    words = ("commit-tree", tree, *(("-p", parent) if parent else ()), "-m", f"look {look.number}")
    return git(checkout, *words, env=identity(checkout))


def _short(identifier: str) -> bytes:
    return bytes.fromhex(identifier[: 2 * SIZE])
