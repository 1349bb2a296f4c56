"""Rows for a problem of any columns, made up of what their kinds say: what is asked can be told from what is given."""

import hashlib
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl

from tasks.shared.answers import Answer, as_json
from tasks.shared.columns import Columns, media, present
from tests.support.pictures import picture
from tests.support.sounds import sound

TOPICS = ("parcel late courier", "refund money account", "jacket colour size")
NAMES = ("delivery", "payment", "product")
FILLERS = (
    "please",
    "hello",
    "again",
    "today",
    "still",
    "my",
    "order",
    "it",
    "is",
    "about",
    "thanks",
    "regards",
)


def generated(columns: Columns, count: int = 60) -> list[dict[str, Any]]:
    """Return different rows, as a file of JSON lines would hold them."""
    draw = random.Random(0)  # noqa: S311 (no secret)
    rows = []
    for number in range(count):
        topic = number % len(TOPICS)
        words = [*draw.sample(FILLERS, draw.randrange(2, 9)), TOPICS[topic], str(number)]
        values = {
            "text": " ".join(words),
            "category": NAMES[topic],
            "categories": sorted({NAMES[topic], NAMES[draw.randrange(2)]}) if number % 10 else [],
            "number": topic * 10 + draw.randrange(5) / 4,
            "answers": as_json([Answer(TOPICS[topic], " ".join(words).index(TOPICS[topic]))]),
            "tokens": " ".join(words).split(),
            "tags": _tags(words, topic),
            "spans": [_span(" ".join(words), topic)],
            "image": f"{number}.png",
            "audio": f"{number}.wav",
            "messages": json.dumps(
                [
                    {"content": " ".join(words), "role": "user"},
                    {"content": TOPICS[topic], "role": "assistant"},
                ]
            ),
        }
        its = present(columns, ())
        rows.append({name: values[column.kind] for name, column in its.items()})
    return rows


# what a file of a kind of media holds, by the number of its row
FILES: dict[str, Callable[[int], bytes]] = {"audio": sound, "image": picture}


def kept(columns: Columns, count: int = 60) -> list[dict[str, Any]]:
    """Return the rows as ingest writes them: a file is known by its content."""
    rows, name = generated(columns, count), media(columns)
    for number, row in enumerate(rows if name is not None else ()):
        digest = hashlib.sha256(FILES[columns[name].kind](number)).hexdigest()
        row[name] = f"{digest[:2]}/{digest}{Path(row[name]).suffix}"
    return rows


def _tags(words: list[str], topic: int) -> list[str]:
    """Return a tag for each word: the topic's are an entity."""
    its, before = len(TOPICS[topic].split()), len(words) - 2
    return ["O"] * before + [f"{'I' if number else 'B'}-{NAMES[topic]}" for number in range(its)] + ["O"]


def _span(text: str, topic: int) -> dict[str, Any]:
    """Return where the topic's words stand in a text."""
    start = text.index(TOPICS[topic])
    return {"start": start, "end": start + len(TOPICS[topic]), "label": NAMES[topic]}


def write(file: Path, columns: Columns, count: int = 60) -> Path:
    """Write such rows as CSV where each is a text or a number, else as JSON lines, by the file's ending.

    Pictures and sounds that they name are written beside it.
    """
    rows, name = generated(columns, count), media(columns)
    for number, row in enumerate(rows if name is not None else ()):
        (file.parent / row[name]).write_bytes(FILES[columns[name].kind](number))
    if file.suffix == ".csv":
        pl.DataFrame(rows).write_csv(file)
    else:
        file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return file
