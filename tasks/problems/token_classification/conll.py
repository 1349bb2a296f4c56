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
# endings of files that hold tables
TABLES = (".csv", ".tsv", ".json", ".jsonl", ".ndjson", ".parquet", ".arrow", ".feather")


def read(file: Path, encoding: str, tag_column: int) -> Iterator[dict[str, Any]]:
    """Yield `tokens` and `tags` of each sentence; lines may end in CR LF, and words be unseen marks.

    Columns stand between tabs where the file has any, else between blanks. Raises InputError for a line
    that has no such column.
    """
    text = read_text(file, file.name, encoding)
    split = (
        (lambda line: line.split("\t"))
        if re.search(r"\S\t+\S", text)
        else (lambda line: re.split(" +", line))
    )
    tokens: list[str] = []
    tags: list[str] = []
    # not splitlines: a word may be one of the marks that Unicode ends lines with
    for number, line in enumerate([*text.split("\n"), ""], start=1):
        if not line.strip(BLANKS):
            if tokens:
                yield {"tokens": tokens, "tags": tags}
            tokens, tags = [], []
            continue
        fields = split(line.strip(BLANKS if line[0] in BLANKS else "\r"))
        if fields[0] == DOCUMENT or (len(fields) == 1 and line.startswith("#")):
            continue
        # the first column is the word
        if not -len(fields) < tag_column < len(fields) or tag_column == 0:
            said = f"{line!r} has no tag in column {tag_column}"
            raise InputError(
                f"{file.name}: line {number}: {said}; set token_classification.tag_column, or mend the line"
            )
        tokens.append(fields[0])
        tags.append(fields[tag_column].strip(BLANKS))
