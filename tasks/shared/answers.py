"""Answers that stand in a text, as `datasets` writes SQuAD's: {text, answer_start}, in code points."""

import json
from typing import NamedTuple

from tasks.shared.values import from_json, written


class Answer(NamedTuple):
    """A part of a text, and the code point at which it begins."""

    text: str
    start: int


def answers(said: str) -> list[Answer]:
    """Return the answers in JSON as `as_json` writes it."""
    values = json.loads(said)
    return [Answer(*pair) for pair in zip(values["text"], values["answer_start"], strict=True)]


def as_json(given: list[Answer]) -> str:
    """Return answers in one spelling; none is a value too."""
    return written({"text": [one.text for one in given], "answer_start": [one.start for one in given]}) or ""


def parsed(said: str | None) -> str | None:
    """Return answers in one spelling; None for what says none."""
    try:
        texts, starts = (from_json(said)[name] for name in ("text", "answer_start"))
    except (TypeError, KeyError):
        return None
    are_lists = isinstance(texts, list) and isinstance(starts, list) and len(texts) == len(starts)
    if not are_lists or not all(isinstance(text, str) and text for text in texts):
        return None
    if not all(type(start) is int and start >= 0 for start in starts):
        return None
    return as_json([Answer(*pair) for pair in zip(texts, starts, strict=True)])
