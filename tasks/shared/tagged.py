"""Words with a tag each, and spans of a text: what is read of JSON, which types there are, what differs."""

import re
from collections.abc import Iterable
from typing import Any

import polars as pl

from tasks.shared.values import from_json, written

# of IOB, IOBES and BILOU (Ratinov and Roth 2009): where a tag's word stands in its entity
PREFIX = re.compile("^[BIESUL]-(?=.)")
OUTSIDE = "O"
SPAN = ("start", "end", "label")
WORDS = pl.List(pl.String)
SPANS = pl.List(pl.Struct({"start": pl.Int64, "end": pl.Int64, "label": pl.String}))


def _list(text: str | None) -> list[Any] | None:
    """Return the list that a text spells in JSON; None where it spells none."""
    value = from_json(text)
    return value if isinstance(value, list) else None


def words(text: str | None) -> list[str] | None:
    """Return the texts in a list; None where it is none, or holds anything but texts and numbers."""
    values = _list(text)
    if values is None or not all(isinstance(value, str | int | float) for value in values):
        return None
    return [written(value) or "" for value in values]


def spans(text: str | None) -> list[dict[str, Any]] | None:
    """Return the spans in a list of {start, end, label} or [start, end, label], sorted, else None."""
    values, found = _list(text), []
    if values is None:
        return None
    for value in values:
        parts = value if isinstance(value, list) else []
        if isinstance(value, dict):
            parts = [value.get(name) for name in SPAN]
        if [type(part) for part in parts] != [int, int, str] or not parts[2].strip():
            return None
        found.append({"start": parts[0], "end": parts[1], "label": parts[2].strip()})
    return sorted(found, key=lambda span: (span["start"], span["end"], span["label"]))


def entity_type(tag: str) -> str:
    """Return the type that a tag names: `person` of `B-person` and `person`; nothing for a word outside."""
    return "" if tag == OUTSIDE else PREFIX.sub("", tag)


def types_in_tags(tags: Iterable[str]) -> list[str]:
    """Return the types of entities in a row's tags, each once."""
    return sorted({entity_type(tag) for tag in tags} - {""})


def types_in_spans(its: Iterable[dict[str, Any]]) -> list[str]:
    """Return the labels of a row's spans, each once."""
    return sorted({span["label"] for span in its})


def num_other_tags(predicted: list[str], actual: list[str]) -> int:
    """Return how many words are tagged otherwise."""
    return sum(map(str.__ne__, predicted, actual))


def num_other_spans(predicted: list[dict[str, Any]], actual: list[dict[str, Any]]) -> int:
    """Return how many spans are in one only."""
    mine, its = ({tuple(span.values()) for span in of_one} for of_one in (predicted, actual))
    return len(mine ^ its)
