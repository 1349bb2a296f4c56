"""Entities: parts of a row that have a type, and the tags that say them word by word."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from tasks.shared.tagged import OUTSIDE, PREFIX, entity_type

# what begins an entity, and what ends it, in IOB, IOBES and BILOU
BEGINS, ENDS = ("B-", "S-", "U-"), ("E-", "L-", "S-", "U-")


class Entity(NamedTuple):
    """A part of a row, from `start` to before `end` (in words, or code points of a text), and its type."""

    start: int
    end: int
    type: str


def grouped(tagged: Iterable[tuple[int, int, str]]) -> list[Entity]:
    """Return the entities of parts (start, end, tag) in order, as conlleval and seqeval find them.

    An entity goes on while the type stays the same and no tag begins a new one;
    one that begins with I- is one too (Tjong Kim Sang and Buchholz 2000).
    A tag without such a prefix goes on with what has the same tag.
    """
    found: list[Entity] = []
    goes_on = False
    for start, end, tag in tagged:
        kind = entity_type(tag)
        if kind and goes_on and found[-1].type == kind and not tag.startswith(BEGINS):
            found[-1] = Entity(found[-1].start, end, kind)
        elif kind:
            found.append(Entity(start, end, kind))
        goes_on = bool(kind) and not tag.startswith(ENDS)
    return found


def of_tags(tags: Sequence[str]) -> list[Entity]:
    """Return the entities of words, counted in words."""
    return grouped((number, number + 1, tag) for number, tag in enumerate(tags))


def tags_of(entities: Iterable[Entity], count: int, *, has_prefix: bool) -> list[str]:
    """Return a tag for each of so many words."""
    tags = [OUTSIDE] * count
    for start, end, kind in entities:
        for number in range(start, end):
            tags[number] = tag(kind, begins=number == start, has_prefix=has_prefix)
    return tags


def tag(kind: str, *, begins: bool, has_prefix: bool) -> str:
    """Return the tag of a word in an entity."""
    return f"{'B' if begins else 'I'}-{kind}" if has_prefix else kind


def have_prefix(tags: Iterable[str]) -> bool:
    """Return whether tags say where entities begin; parts of speech do not."""
    return all(tag == OUTSIDE or PREFIX.match(tag) for tag in tags)


class Lookup:
    """The entities of train, found again by their words, the longest first; capitals make no difference.

    Words are an entity where they were one at least as often as they were not.
    """

    def __init__(self, rows: Iterable[tuple[Sequence[str], Sequence[Entity]]]) -> None:
        said: dict[tuple[str, ...], Counter[str]] = {}
        rows = [([word.lower() for word in words], entities) for words, entities in rows]
        for words, entities in rows:
            for start, end, kind in entities:
                said.setdefault(tuple(words[start:end]), Counter())[kind] += 1
        self.longest = max(map(len, said), default=0)
        seen: Counter[tuple[str, ...]] = Counter()
        for words, _ in rows:
            for start in range(len(words)):
                seen.update(known for known in self._from(words, start) if known in said)
        self.types: Mapping[tuple[str, ...], str] = {
            words: min(kinds, key=lambda kind: (-kinds[kind], kind))
            for words, kinds in said.items()
            if 2 * kinds.total() >= seen[words]
        }

    def _from(self, words: Sequence[str], start: int) -> list[tuple[str, ...]]:
        """Return what begins at a word, the longest first."""
        most = min(self.longest, len(words) - start)
        return [tuple(words[start : start + length]) for length in range(most, 0, -1)]

    def find(self, words: Sequence[str]) -> list[Entity]:
        """Return the entities in words."""
        words = [word.lower() for word in words]
        found, start = [], 0
        while start < len(words):
            known = next((part for part in self._from(words, start) if part in self.types), None)
            if known:
                found.append(Entity(start, start + len(known), self.types[known]))
            start += len(known) if known else 1
        return found


def usual_tags(rows: Iterable[tuple[Sequence[str], Sequence[str]]]) -> dict[str, str]:
    """Return the most frequent tag of each word, capitals aside."""
    counts: dict[str, Counter[str]] = {}
    for words, tags in rows:
        for word, its in zip(words, tags, strict=True):
            counts.setdefault(word.lower(), Counter())[its] += 1
    return {word: min(its, key=lambda tag: (-its[tag], tag)) for word, its in counts.items()}
