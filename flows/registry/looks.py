"""How often the test rows of a name have been looked at: each comparison spends some of what they can prove.

A look is a commit of a ref of its own, `refs/retrain/looks/NAME`, after the look before it: its tree holds
`look.json` and `rows`, the first eight bytes of the ids of its test rows. A look at rows that are all new has
the number 1 and begins a count; one that meets rows of any count, however old, has a larger number than all
looks since that count began, and goes on in the newest count, which it gives the rows that are not in it yet:
so no two looks at a row have the same number. Where promotions are shared, a look is counted at the Git
remote first: after all looks there, or not at all.
"""

import json
from base64 import b64encode
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from string import ascii_letters, digits

from pydantic import BaseModel, Field

from flows.git.commands import git, identity
from flows.git.refs import commit_at, set_ref
from flows.ledger.experiments import shared_with
from flows.registry import sharing
from flows.registry.tags import refuse_odd_name
from tasks.shared.errors import InputError

REF = "refs/retrain/looks"
RECORD, ROWS = "look.json", "rows"
# bytes of an id, and of one that is written down
SIZE, WRITTEN = 8, 12
BASE64 = f"{ascii_letters}{digits}+/=\n".encode()
# others may take looks meanwhile
TRIES = 50
# looks, bytes of all and of one that are read: whoever can push may have written more. Two years of 200,000
# new rows a night are less
MOST, LARGEST, LARGEST_OF_ONE = 100_000, 2_000_000_000, 200_000_000
# bytes that Git is asked for together
AT_ONCE = 20_000_000


class Look(BaseModel):
    """A comparison of two packages, by their digests, or of one with a baseline."""

    number: int = Field(ge=1)
    candidate: str
    other: str
    # test rows that no earlier look had seen
    new_rows: int = Field(0, ge=0)
    # whether it was taken just now; not written down
    is_new: bool = Field(False, exclude=True)


@dataclass(frozen=True)
class Seen:
    """All looks that were taken, the newest first, and the commits that they are.

    where: whose they are; remedy: against what is none.
    """

    looks: tuple[Look, ...] = ()
    commits: tuple[str, ...] = ()
    where: str = ""
    remedy: str = ""

    @property
    def tip(self) -> str | None:
        """The commit of the newest."""
        return self.commits[0] if self.commits else None

    def of(self, candidate: str, other: str) -> Look | None:
        """Return the look at these two, if there was one."""
        return next((look for look in self.looks if (look.candidate, look.other) == (candidate, other)), None)


def seen(checkout: Path, name: str) -> Seen:
    """Return the looks of a name's candidates that are known here; raise InputError when one is no record."""
    ref = f"{REF}/{name}"
    return _read(checkout, commit_at(checkout, ref), ref, f"`git update-ref -d {REF}/{name}`")


def take(checkout: Path, name: str, candidate: str, other: str, ids: Iterable[str]) -> Look:
    """Count a look at two models on test rows, by their ids, and return it; the same pair is one look.

    Raises UnreachableError when looks are shared and the Git remote cannot be reached.
    """
    refuse_odd_name(name, "model")
    rows = frozenset(_short(one) for one in ids)
    ref, remote = f"{REF}/{name}", shared_with(checkout)
    for _ in range(TRIES):
        known = seen(checkout, name)
        mine = theirs = known.tip
        if remote is not None:
            theirs = sharing.brought(checkout, remote, ref)
            remedy = f"`git push {remote} --delete {REF}/{name}`"
            known = _together(checkout, known, _read(checkout, theirs, f"{ref} of '{remote}'", remedy))
        look = known.of(candidate, other)
        if look is None:
            known = _followed(checkout, known, candidate, other, rows)
            look = known.looks[0].model_copy(update={"is_new": True})
        # the remote first: what a kill leaves there, the next look fetches
        is_new = remote is not None and known.tip != theirs
        if is_new and not sharing.moved(checkout, str(remote), ref, str(known.tip), theirs):
            continue
        if known.tip == mine or set_ref(checkout, ref, str(known.tip), mine):
            return look
    raise InputError(f"{ref} is moved by others again and again; try once more")


def _together(checkout: Path, mine: Seen, theirs: Seen) -> Seen:
    """Return all looks: the remote's, and after them, counted anew, those that were taken here alone."""
    if mine.tip is None or theirs.tip is None:
        return theirs if mine.tip is None else mine
    if theirs.tip in mine.commits:
        return mine
    own = {*mine.commits} - {*theirs.commits}
    known, rows = theirs, set[bytes]()
    oldest_first = replace(mine, looks=mine.looks[::-1], commits=mine.commits[::-1]) if own else Seen()
    for commit, look, new in zip(
        oldest_first.commits, oldest_first.looks, _rows(checkout, oldest_first), strict=True
    ):
        if look.number == 1:
            rows.clear()
        # what it has seen is not known beyond what was new to its count: it may have been all of that
        rows.update(new)
        if commit in own and known.of(look.candidate, look.other) is None:
            known = _followed(checkout, known, look.candidate, look.other, frozenset(rows))
    return known


def _followed(checkout: Path, known: Seen, candidate: str, other: str, rows: frozenset[bytes]) -> Seen:
    """Write a look after those that are known; it starts afresh when none of its rows was seen."""
    counts = _counts(checkout, known, rows)
    met = [place for place, (_, its) in enumerate(counts) if its]
    # a later count may have looks at other rows of the oldest that it meets: all since then are before it
    number = 1 + max(largest for largest, _ in counts[: met[-1] + 1]) if met else 1
    before = counts[0][1] if met else set[bytes]()
    new = rows.difference(*(its for _, its in counts))
    look = Look(number=number, candidate=candidate, other=other, new_rows=len(new))
    commit = _commit(checkout, look, rows - before, known.tip)
    return replace(known, looks=(look, *known.looks), commits=(commit, *known.commits))


def _counts(checkout: Path, known: Seen, rows: frozenset[bytes]) -> list[tuple[int, set[bytes]]]:
    """Return of each count, the newest first, its largest number, and which of these rows it has seen."""
    counts: list[tuple[int, set[bytes]]] = []
    is_over = True
    for look, its in zip(known.looks, _rows(checkout, known), strict=True):
        if is_over:
            counts.append((look.number, set()))
        counts[-1][1].update(rows.intersection(its))
        is_over = look.number == 1
    return counts


def _read(checkout: Path, tip: str | None, where: str, remedy: str) -> Seen:
    """Return the looks up to a commit; raise InputError when they are no record of looks, or too many."""
    its = Seen(where=where, remedy=remedy)
    if tip is None:
        return its
    if git(checkout, "cat-file", "-t", tip) != "commit":
        raise _no_look(its, tip)
    listed = git(checkout, "rev-list", "--first-parent", f"--max-count={MOST + 1}", tip).splitlines()
    if len(listed) > MOST:
        raise _too_much(its, f"more than {MOST} looks")
    its = replace(its, commits=tuple(listed))
    return replace(its, looks=_in_order(its, list(_texts(checkout, its, RECORD))))


def _in_order(known: Seen, records: Sequence[bytes]) -> tuple[Look, ...]:
    """Return the looks that records are: each has the number 1, or a larger one than the look before it.

    No number is larger than there were looks by then.
    """
    looks: list[Look] = []
    for commit, record in zip(reversed(known.commits), reversed(records), strict=True):
        try:
            look = Look.model_validate_json(record).model_copy(update={"is_new": False})
        except ValueError:
            raise _no_look(known, commit) from None
        least = looks[-1].number + 1 if looks else 1
        if look.number != 1 and not least <= look.number <= len(looks) + 1:
            raise _no_look(known, commit)
        looks.append(look)
    return tuple(reversed(looks))


def _rows(checkout: Path, known: Seen) -> Iterator[list[bytes]]:
    """Yield the rows that each look has added to its count, as they are written down."""
    for commit, text in zip(known.commits, _texts(checkout, known, ROWS), strict=True):
        rows = text.split()
        if text.translate(None, BASE64) or {*map(len, rows)} - {WRITTEN}:
            raise _no_look(known, commit)
        yield rows


def _texts(checkout: Path, known: Seen, file: str) -> Iterator[bytes]:
    """Yield what a file of each look holds, some of them in memory at once."""
    asked = [f"{commit}:{file}\n" for commit in known.commits]
    sizes = _sizes(checkout, known, asked)
    start = 0
    while start < len(asked):
        end, together = start + 1, sizes[start]
        while end < len(asked) and together + sizes[end] <= AT_ONCE:
            together += sizes[end]
            end += 1
        yield from _blobs(git(checkout, "cat-file", "--batch", given="".join(asked[start:end])))
        start = end


def _sizes(checkout: Path, known: Seen, asked: Sequence[str]) -> list[int]:
    """Return the bytes of files of all looks; raise InputError when one is none, or they are too large."""
    told = git(checkout, "cat-file", "--batch-check=%(objecttype) %(objectsize)", given="".join(asked))
    sizes = []
    for commit, line in zip(known.commits, told.splitlines(), strict=True):
        kind, _, size = line.partition(" ")
        if kind != "blob":
            raise _no_look(known, commit)
        sizes.append(int(size))
    if sum(sizes) > LARGEST or max(sizes, default=0) > LARGEST_OF_ONE:
        raise _too_much(known, f"{sum(sizes) // 1_000_000} MB")
    return sizes


def _blobs(told: str) -> Iterator[bytes]:
    """Yield the contents of the blobs that Git has printed."""
    text = told.encode(errors="surrogateescape")
    start = 0
    while start < len(text):
        head, _, _ = text[start : start + 200].partition(b"\n")
        begin = start + len(head) + 1
        start = begin + int(head.rpartition(b" ")[2]) + 1
        yield text[begin : start - 1]


def _no_look(known: Seen, commit: str) -> InputError:
    what = f"{known.where} holds what is no record of a look ({commit[:10]})"
    return InputError(f"{what}; find out who wrote it, then {known.remedy}")


def _too_much(known: Seen, much: str) -> InputError:
    remedy = "leave it there, and give the model a promote.name of its own and test rows that are all new"
    return InputError(f"{known.where} holds more looks than are read ({much}); {remedy}")


def _commit(checkout: Path, look: Look, rows: Iterable[bytes], parent: str | None) -> str:
    texts = {
        RECORD: json.dumps(look.model_dump(), indent=1) + "\n",
        ROWS: "".join(f"{row.decode()}\n" for row in sorted(rows)),
    }
    entries = []
    for name, text in texts.items():
        blob = git(checkout, "hash-object", "-w", "--stdin", given=text)
        entries.append(f"100644 blob {blob}\t{name}\n")
    tree = git(checkout, "mktree", given="".join(entries))
    words = ("commit-tree", tree, *(("-p", parent) if parent else ()), "-m", f"look {look.number}")
    return git(checkout, *words, env=identity(checkout))


def _short(identifier: str) -> bytes:
    return b64encode(bytes.fromhex(identifier[: 2 * SIZE]))
