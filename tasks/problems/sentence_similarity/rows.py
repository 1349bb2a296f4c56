"""What rows say is alike: texts of one label, or a text and its pair."""

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import polars as pl

from tasks.problems.sentence_similarity import retrieval
from tasks.problems.sentence_similarity.retrieval import Retrieved
from tasks.shared.columns import Column, Columns


class Labels:
    """Rows are (text, label); texts of one label are alike."""

    columns: ClassVar[Columns] = {"text": Column("text", "input"), "label": Column("category", "target")}
    examples: ClassVar[tuple[Mapping[str, Any], ...]] = (
        {"text": "when will my card come", "label": "card_arrival"},
    )

    def retrieved(self, rows: pl.DataFrame, vectors: Callable[[str], Any]) -> Retrieved:
        """Look for what is alike among rows; vectors: gives those of a column."""
        return retrieval.by_label(vectors("text"), rows["label"].to_list())


class Pairs:
    """Rows are (text, text_pair), which are alike."""

    columns: ClassVar[Columns] = {"text": Column("text", "input"), "text_pair": Column("text", "target")}
    examples: ClassVar[tuple[Mapping[str, Any], ...]] = (
        {"text": "when will my card come", "text_pair": "how long does a new card take"},
    )

    def retrieved(self, rows: pl.DataFrame, vectors: Callable[[str], Any]) -> Retrieved:
        """Look for each row's pair among all pairs; vectors: gives those of a column."""
        return retrieval.by_pair(vectors("text"), vectors("text_pair"), rows["text_pair"].to_list())


ROWS: dict[str, Labels | Pairs] = {"labels": Labels(), "pairs": Pairs()}
