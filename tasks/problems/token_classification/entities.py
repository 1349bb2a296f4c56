"""Entities: parts of a row that have a type, and the tags that say them word by word."""

from collections.abc import Iterable, Sequence
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
    An empty part, as blanks are, is tagged like others; it moves no end, and alone it is no entity.
    """
    found: list[Entity] = []
    goes_on = False
    for start, end, tag in tagged:
        kind = entity_type(tag)
        if kind and goes_on and found[-1].type == kind and not tag.startswith(BEGINS):
            found[-1] = _longer(found[-1], Entity(start, end, kind))
        elif kind:
            found.append(Entity(start, end, kind))
        goes_on = bool(kind) and not tag.startswith(ENDS)
    return [entity for entity in found if entity.start < entity.end]


def _longer(entity: Entity, part: Entity) -> Entity:
    """Return an entity with a part behind it; either may be empty."""
    if part.start == part.end:
        return entity
    return part if entity.start == entity.end else Entity(entity.start, part.end, part.type)


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
