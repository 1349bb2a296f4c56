"""What only token classification has to tune."""

from typing import Literal

from pydantic import Field

from tasks.shared.section import Section


class Own(Section):
    """How rows say their entities."""

    rows: Literal["tags", "spans"] = Field(
        "tags",
        description=(
            "tags: `tokens`, a list of words, and `tags`, one for each; "
            "spans: `text`, and `spans` of it as {start, end, label}."
        ),
    )
    token_column: int = Field(
        0,
        description=(
            "CoNLL files only: the column that holds the word, from 0; "
            "1 where each line begins with a number."
        ),
    )
    tag_column: int = Field(
        -1, description="CoNLL files only: the column that holds the tag, from 0; -1 is the last."
    )
