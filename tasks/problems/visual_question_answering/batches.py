"""Batches of questions and pictures."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from transformers import DataCollatorWithPadding

from tasks.problems.common.shared_pictures import SharedPictures


class Collator:
    """Makes a batch: the tokens of questions padded to the longest, pixel_values of pictures, and labels."""

    def __init__(self, processor: Any, folder: Path) -> None:
        """Keep the pictures last seen."""
        self.words = DataCollatorWithPadding(processor.tokenizer)
        self.pictures = SharedPictures(processor.image_processor, folder)

    def __call__(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Return tensors."""
        read = (*self.words.tokenizer.model_input_names, "labels")
        words = [{name: row[name] for name in read if name in row} for row in rows]
        return {**self.words(words), "pixel_values": self.pictures([row["image"] for row in rows])}
