"""What rows say of their entities: a tag for each word, or spans of a text."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import polars as pl

from tasks.problems import Prediction, Targets
from tasks.problems.token_classification.entities import Entity, grouped, of_tags, tags_of
from tasks.shared.columns import Column
from tasks.shared.tagged import SPAN

# of a token that stands for no part of the row
NOTHING = (-1, -1)
WORD = re.compile(r"\w+|[^\w\s]")

Part = tuple[int, int]


class Tags:
    """Rows are words with a tag each; entities are counted in words."""

    columns: ClassVar[Mapping[str, Column]] = {
        "tokens": Column("tokens", "input"),
        "tags": Column("tags", "target"),
    }
    examples: ClassVar[tuple[Mapping[str, Any], ...]] = (
        {
            "tokens": ["Anna", "Weber", "lives", "in", "Oslo"],
            "tags": ["B-person", "I-person", "O", "O", "B-location"],
        },
    )
    # each token's tag, of words as they are
    served_with: ClassVar[Mapping[str, Any]] = {"is_split_into_words": True, "ignore_labels": []}

    def wrong(self, tokens: list[str], tags: list[str]) -> str | None:
        """Return why a row cannot be used."""
        return None if len(tokens) == len(tags) else f"tags: {len(tags)} for {len(tokens)} tokens"

    def entities(self, said: pl.Series) -> list[list[Entity]]:
        """Return the entities of each row."""
        return [of_tags(tags) for tags in said]

    def said(self, entities: Sequence[Entity], size: int, targets: Targets) -> list[Any]:
        """Return entities as a row of so many words says them."""
        return tags_of(entities, size, has_prefix=targets["has_prefix"])

    def parts(self, encoded: Any, row: int, given: list[str]) -> list[Part]:
        """Return which word each token stands for: the first token of each for it, the others for nothing."""
        words = encoded.word_ids(row)
        before = [None, *words[:-1]]
        return [
            NOTHING if word is None or word == last else (word, word + 1)
            for word, last in zip(words, before, strict=True)
        ]

    def num_lost(self, parts: list[Part], given: list[str], entities: list[Entity]) -> int:
        """Return how many words no token stands for."""
        return len(given) - len(set(parts) - {NOTHING})

    def words(self, given: list[str]) -> list[Part]:
        """Return where each word stands."""
        return [(number, number + 1) for number in range(len(given))]

    def texts(self, given: list[str]) -> list[str]:
        """Return the words."""
        return list(given)

    def agrees(self, served: list[dict[str, Any]], mine: list[Entity], predicted: Prediction) -> bool:
        """Return whether the served tags make some entities, by the tokens that stand for words (`at`)."""
        tags = {token["index"]: token["entity"] for token in served}
        places = enumerate(json.loads(predicted["at"]))
        return mine == grouped((word, word + 1, tags[place]) for word, place in places if place is not None)


class Spans:
    """Rows are texts with spans; entities are counted in code points."""

    columns: ClassVar[Mapping[str, Column]] = {
        "text": Column("text", "input"),
        "spans": Column("spans", "target"),
    }
    examples: ClassVar[tuple[Mapping[str, Any], ...]] = (
        {
            "text": "Anna Weber lives in Oslo",
            "spans": [
                {"start": 0, "end": 10, "label": "person"},
                {"start": 20, "end": 24, "label": "location"},
            ],
        },
    )
    # whole entities
    served_with: ClassVar[Mapping[str, Any]] = {"aggregation_strategy": "simple"}

    def wrong(self, text: str, spans: list[dict[str, Any]]) -> str | None:
        """Return why a row cannot be used."""
        last = 0
        for span in spans:
            start, end, _ = span.values()
            if not 0 <= start < end <= len(text):
                return f"spans: {start} to {end} is no part of a text of {len(text)} characters"
            if start < last:
                return f"spans: {start} to {end} begins within the span before it"
            last = end
        return None

    def entities(self, said: pl.Series) -> list[list[Entity]]:
        """Return the entities of each row."""
        return [[Entity(*(span[name] for name in SPAN)) for span in spans] for spans in said]

    def said(self, entities: Sequence[Entity], size: int, targets: Targets) -> list[Any]:
        """Return entities as a row says them."""
        return [dict(zip(SPAN, entity, strict=True)) for entity in entities]

    def parts(self, encoded: Any, row: int, given: str) -> list[Part]:
        """Return which part of the text each token stands for, without the blanks at its ends.

        A token of blanks alone stands for the empty part where they end: the pipeline asks for its tag too.
        """
        parts = []
        for word, (start, end) in zip(encoded.word_ids(row), encoded["offset_mapping"][row], strict=True):
            text = given[start:end]
            # a byte-pair token begins with the blank before its word
            first, last = end - len(text.lstrip()), start + len(text.rstrip())
            parts.append(NOTHING if word is None else (first, max(first, last)))
        return parts

    def num_lost(self, parts: list[Part], given: str, entities: list[Entity]) -> int:
        """Return how many spans begin behind the last token."""
        last = max((end for _, end in parts), default=0)
        return sum(entity.start >= last for entity in entities)

    def words(self, given: str) -> list[Part]:
        """Return where each word, or sign, stands."""
        return [match.span() for match in WORD.finditer(given)]

    def texts(self, given: str) -> list[str]:
        """Return the words and signs."""
        return WORD.findall(given)

    def agrees(self, served: list[dict[str, Any]], mine: list[Entity], predicted: Prediction) -> bool:
        """Return whether the served entities are some, but for blanks at their ends, by their `room`."""
        wanted = list(zip(mine, json.loads(predicted["room"]), strict=True))
        # blanks alone may be a group too
        found = [one for one in served if one["word"].strip() or any(_is_entity(one, *its) for its in wanted)]
        pairs = zip(found, wanted, strict=False)
        return len(found) == len(wanted) and all(_is_entity(group, *its) for group, its in pairs)


def _is_entity(group: Mapping[str, Any], entity: Entity, room: Part) -> bool:
    """Return whether what the pipeline has grouped is an entity, and blanks at most beside it."""
    is_left = room[0] <= group["start"] <= entity.start
    is_right = entity.end <= group["end"] <= room[1]
    return bool(is_left and is_right and group["entity_group"] == entity.type)


def rooms(entities: Sequence[Entity], parts: Sequence[Part], size: int) -> list[Part]:
    """Return from where to where in a row of some size each entity stands alone: what is beside it is blank.

    Up to the nearest parts that are none of its own; an empty one is blank.
    """
    starts, ends = np.array(parts, int).reshape(-1, 2).T
    is_said = starts < ends
    found = []
    for start, end, _ in entities:
        before = ends[is_said & (ends <= start)].max(initial=0)
        after = starts[is_said & (starts >= end)].min(initial=size)
        found.append((int(before), int(after)))
    return found


ROWS: dict[str, Tags | Spans] = {"tags": Tags(), "spans": Spans()}


def in_words(entities: Sequence[Entity], words: Sequence[Part]) -> list[Entity]:
    """Return entities counted in the words that they touch."""
    found = []
    for start, end, kind in entities:
        within = [number for number, (first, last) in enumerate(words) if first < end and last > start]
        if within:
            found.append(Entity(within[0], within[-1] + 1, kind))
    return found


def from_words(entities: Sequence[Entity], words: Sequence[Part]) -> list[Entity]:
    """Return entities that are counted in words as they are counted in the row."""
    return [Entity(words[start][0], words[end - 1][1], kind) for start, end, kind in entities]
