"""Files as CoNLL's shared tasks have them: a word and its tag on a line, an empty one after each sentence."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tasks.shared.errors import InputError
from tasks.shared.files import read_text

# a line of nothing else ends a sentence: WNUT17 writes a lone tab
BLANKS = " \t\r"
DOCUMENT = "-DOCSTART-"
# numbers of CoNLL-U that are of no word: of several in one, and of one that is not written
OF_NO_WORD = re.compile(r"\d+[-.]\d+")
# endings of files that hold tables
TABLES = (".csv", ".tsv", ".json", ".jsonl", ".ndjson", ".parquet", ".arrow", ".feather")


def read(file: Path, encoding: str, token_column: int, tag_column: int) -> Iterator[dict[str, Any]]:
    """Yield `tokens` and `tags` of each sentence; lines may end in CR LF, and words be unseen marks.

    Columns stand between tabs where the file has any, else between blanks. Raises InputError for a line
    that has no such columns.
    """
    text = read_text(file, file.name, encoding)
    between = re.compile("\t" if re.search(r"\S\t+\S", text) else " +")
    tokens: list[str] = []
    tags: list[str] = []
    # not splitlines: a word may be one of the marks that Unicode ends lines with
    for number, line in enumerate([*text.split("\n"), ""], start=1):
        if not line.strip(BLANKS):
            if tokens:
                yield {"tokens": tokens, "tags": tags}
            tokens, tags = [], []
            continue
        fields = between.split(line.strip(BLANKS if line[0] in BLANKS else "\r"))
        if _has_no_word(fields, token_column):
            continue
        word, tag = (_place(column, len(fields)) for column in (token_column, tag_column))
        if word is None or tag is None or word == tag:
            of_word, of_tag = ("word", "token_column", token_column), ("tag", "tag_column", tag_column)
            what, param, column = of_word if word is None else of_tag
            said = f"{line!r} has no {what} in column {column}; set token_classification.{param}"
            raise InputError(f"{file.name}: line {number}: {said}, or mend the line")
        tokens.append(fields[word])
        tags.append(fields[tag].strip(BLANKS))


def _has_no_word(fields: list[str], token_column: int) -> bool:
    """Return whether a line begins a document, is a comment, or is of no word that is written."""
    first = fields[0]
    if first == DOCUMENT or (len(fields) == 1 and first.startswith("#")):
        return True
    # where the first column is a number or the like, nothing but a comment begins so
    return token_column != 0 and (first.startswith("#") or OF_NO_WORD.fullmatch(first) is not None)


def _place(column: int, count: int) -> int | None:
    """Return which of so many columns is meant, from 0; a negative one is counted from the last."""
    return column % count if -count <= column < count else None
