"""Pairs of texts as people keep them: an object of objects in JSON, and two files of parallel lines."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tasks.shared.errors import InputError
from tasks.shared.files import read_text
from tasks.shared.params import Data

# both languages, and the one that this file is in, as in tatoeba.fra-eng.fra
PAIR = re.compile(r"(?P<stem>.*\.)?(?P<first>\w+)-(?P<second>\w+)\.(?P<this>\w+)")


def read(file: Path, params: Data) -> Iterator[dict[str, Any]] | None:
    """Yield the rows of such a file, or return None for another file.

    Of an object of objects each is a row, with its key as `id`. Of parallel files the one that `data.files`
    names holds `text`, the other `target`. Raises InputError where they are not parallel.
    """
    named = PAIR.fullmatch(file.name)
    if params.format == "auto" and named and named["this"] in (named["first"], named["second"]):
        other = named["second"] if named["this"] == named["first"] else named["first"]
        return _lines(file, file.with_name(file.name.removesuffix(named["this"]) + other), params)
    if params.format not in ("auto", "json") or file.suffix.lower() != ".json":
        return None
    try:
        document = json.loads(file.read_text("utf-8-sig"))
    except (ValueError, RecursionError):
        return None
    rows = document.values() if isinstance(document, dict) else ()
    if not rows or not all(isinstance(row, dict) for row in rows):
        return None
    return ({"id": key, **row} for key, row in document.items())


def _lines(file: Path, other: Path, params: Data) -> Iterator[dict[str, Any]]:
    """Yield the lines of two files side by side, as they are: nothing but a line end ends a line."""
    if Path(params.path) == file:
        remedy = f"name the folder, and the file with --data.files {file.name}"
        raise InputError(f"data.path: {file.name} and {other.name} belong together; {remedy}")
    texts, targets = (_of(one, params.encoding) for one in (file, other))
    if len(texts) != len(targets):
        lines = f"{file.name} has {len(texts)} lines and {other.name} {len(targets)}"
        raise InputError(f"{lines}; they must be parallel")
    return ({"text": text, "target": target} for text, target in zip(texts, targets, strict=True))


def _of(file: Path, encoding: str) -> list[str]:
    if not file.exists():
        missing = "there is no such file, and the one in the other language is nothing without it"
        raise InputError(f"{file.name}: {missing}")
    lines = read_text(file, file.name, encoding).split("\n")
    if lines[-1] == "":
        lines.pop()
    return [line.removesuffix("\r") for line in lines]
