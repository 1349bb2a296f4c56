"""What anyone says of entities without a neural network: those of train, and a word's usual tag."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import polars as pl

from tasks.problems import Targets
from tasks.problems.token_classification.entities import Entity, of_tags, tags_of
from tasks.problems.token_classification.rows import Spans, Tags, from_words, in_words
from tasks.shared.tagged import OUTSIDE

# words of an entity that is looked for
LONGEST = 64


def guesses(
    rows: Tags | Spans, train: pl.DataFrame, test: pl.DataFrame, targets: Targets
) -> dict[str, pl.DataFrame]:
    """Return the entities of train found again by their words, and each word's most frequent tag."""
    said: Any = rows
    given, target = rows.columns
    known = []
    for row, entities in zip(train[given], rows.entities(train[target]), strict=True):
        known.append((said.texts(row), in_words(entities, said.words(row))))
    lookup = Lookup(known)
    usual = usual_tags((words, tags_of(its, len(words), has_prefix=True)) for words, its in known)
    found: dict[str, list[Any]] = {"entity_lookup": [], "usual_tag": []}
    for row in test[given]:
        texts, words = said.texts(row), said.words(row)
        tags = [usual.get(word.lower(), OUTSIDE) for word in texts]
        for name, entities in (("entity_lookup", lookup.find(texts)), ("usual_tag", of_tags(tags))):
            found[name].append(rows.said(from_words(entities, words), len(row), targets))
    return {
        name: pl.DataFrame({"predicted": pl.Series(its, dtype=test[target].dtype)})
        for name, its in found.items()
    }


class Lookup:
    """The entities of train, found again by their words, the longest first; capitals make no difference.

    Words are an entity where they were one at least as often as they were not. Of more than LONGEST words, as
    a marked paragraph has, none is looked for: it does not come again, and looking takes its square.
    """

    def __init__(self, rows: Iterable[tuple[Sequence[str], Sequence[Entity]]]) -> None:
        said: dict[tuple[str, ...], Counter[str]] = {}
        rows = [([word.lower() for word in words], entities) for words, entities in rows]
        for words, entities in rows:
            for start, end, kind in entities:
                if end - start <= LONGEST:
                    said.setdefault(tuple(words[start:end]), Counter())[kind] += 1
        self.lengths = sorted({len(known) for known in said}, reverse=True)
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
        """Return what begins at a word and is as long as an entity of train, the longest first."""
        left = len(words) - start
        return [tuple(words[start : start + length]) for length in self.lengths if length <= left]

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
