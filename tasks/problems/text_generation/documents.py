"""Plain text as rows, rows as model inputs in which documents lie side by side without seeing each other."""

import re
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import polars as pl

from tasks.problems.common import pretrained
from tasks.problems.common.lists import IGNORED

if TYPE_CHECKING:
    import pyarrow as pa
    from transformers import PreTrainedTokenizerBase

BLANK_LINES = re.compile(r"\n[ \t]*(?:\n[ \t]*)+")


def documents(text: str, by: str) -> list[str]:
    """Return the documents of a text file: all of it, or its blocks between blank lines."""
    text = text.replace("\r\n", "\n")
    found = [text] if by == "file" else BLANK_LINES.split(text)
    return [document for document in found if document.strip()]


def pieces(document: str, size: int) -> Iterator[str]:
    """Yield a document in parts of `size` characters or a little less, which end with a line if there is one.

    No part is blank: white space at a document's very end is left out when it would be one.
    """
    start = 0
    while document[start:].strip():
        end = start + size
        while not document[start:end].strip():
            end += size
        line = document.rfind("\n", start, end) + 1
        if end < len(document) and document[start:line].strip():
            end = line
        yield document[start:end]
        start = end


class Window(NamedTuple):
    """Consecutive tokens of a document, (n,), and of each the number of the row that it is from, (n,)."""

    ids: np.ndarray
    rows: np.ndarray


def windows(processor: "PreTrainedTokenizerBase", rows: pl.DataFrame, limit: int) -> list[Window]:
    """Cut the documents of some rows into windows of at most `limit` tokens.

    Rows that follow each other in the same `document` of a file are one document. The last token of
    a window is the first of the next, so that each token is predicted once; a document's first token follows
    the token that the tokenizer starts or else ends a text with, if it has one.
    """
    texts = rows["text"].to_list()
    tokens = (
        processor(texts, add_special_tokens=False, return_attention_mask=False)["input_ids"] if texts else []
    )
    before, after = _ends(processor)
    found = []
    for numbers in of_rows(rows):
        ids, of = list(before), [numbers[0]] * len(before)
        for number in numbers:
            ids += tokens[number]
            of += [number] * len(tokens[number])
        ids += after
        of += [numbers[-1]] * len(after)
        whole = Window(np.array(ids, np.int32), np.array(of, np.int64))
        parts = [slice(first, first + limit) for first in range(0, max(len(ids) - 1, 1), limit - 1)]
        found += [Window(whole.ids[part], whole.rows[part]) for part in parts]
    return found


def _ends(processor: "PreTrainedTokenizerBase") -> tuple[list[int], list[int]]:
    """Return the tokens before and after a document; none where the tokenizer has none."""
    last = pretrained.end(processor)
    starts = (processor.bos_token_id, processor.cls_token_id, last)
    start = next((token for token in starts if token is not None), None)
    return [token for token in [start] if token is not None], [token for token in [last] if token is not None]


def of_rows(rows: pl.DataFrame) -> list[list[int]]:
    """Return the numbers of the rows of each document, or of each part of one that no row is left out of.

    A row that names no document is one.
    """
    if "document" not in rows.columns:
        return [[number] for number in range(rows.height)]
    found: list[list[int]] = []
    last = None
    names = rows.select("source_file", "document", "source_row").rows()
    for number, (file, document, place) in enumerate(names):
        if document is None or last != (file, document, place - 1):
            found.append([])
        found[-1].append(number)
        last = (file, document, place)
    return found


def packed(lengths: Sequence[int], limit: int) -> list[list[int]]:
    """Put parts of some lengths into as few rows of at most `limit` as best-fit-decreasing finds.

    Returns their numbers.
    """
    # rows by the room that they have left
    rooms: list[list[list[int]]] = [[] for _ in range(limit + 1)]
    for number in sorted(range(len(lengths)), key=lambda number: (-lengths[number], number)):
        length = lengths[number]
        room = next((room for room in range(length, limit) if rooms[room]), limit)
        row = rooms[room].pop() if rooms[room] else []
        row.append(number)
        rooms[room - length].append(row)
    return sorted(map(sorted, chain.from_iterable(rooms)))


def inputs(found: list[Window], first: int, limit: int, *, packing: bool) -> "pa.RecordBatch":
    """Return windows as model inputs.

    first: the number of the first row, which windows count from 0.
    `input_ids` and `position_ids` list<int32>, which begin anew with each window; `labels` list<int64>, the
    first of a window ignored, for nothing stands before it; `row` list<int64>, the rows that tokens are from;
    `segment` list<int32>, of each token which of these; `length` int32.
    """
    import pyarrow as pa

    columns: dict[str, list[Any]] = {
        name: [] for name in ("input_ids", "position_ids", "labels", "segment", "row", "length")
    }
    lengths = [len(window.ids) for window in found]
    for together in packed(lengths, limit) if packing else [[number] for number in range(len(found))]:
        parts = [found[number] for number in together]
        labels = [np.concatenate(([IGNORED], part.ids[1:])) for part in parts]
        rows, segment = np.unique(np.concatenate([part.rows for part in parts]), return_inverse=True)
        columns["input_ids"].append(np.concatenate([part.ids for part in parts]))
        columns["position_ids"].append(np.concatenate([np.arange(len(part.ids)) for part in parts]))
        columns["labels"].append(np.concatenate(labels))
        columns["segment"].append(segment)
        columns["row"].append(rows + first)
        columns["length"].append(len(segment))
    whole = pa.list_(pa.int32())
    types = {
        "input_ids": whole,
        "position_ids": whole,
        "labels": pa.list_(pa.int64()),
        "segment": whole,
        "row": pa.list_(pa.int64()),
    }
    types["length"] = pa.int32()
    return pa.RecordBatch.from_pydict(
        {name: pa.array(values, types[name]) for name, values in columns.items()}
    )
