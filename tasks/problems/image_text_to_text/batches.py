"""Batches of pictures, prompts and answers."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tasks.problems.common.shared_pictures import SharedPictures

# what no loss is computed of
NOTHING = -100


class Collator:
    """Makes a batch: pixel_values, and the tokens of prompts, each with its answer behind it if there is one.

    Padded on the right. Labels are those of answers, and NOTHING elsewhere.
    """

    def __init__(self, processor: Any, folder: Path) -> None:
        """Keep the pictures last seen."""
        self.padding = processor.tokenizer.pad_token_id
        self.pictures = SharedPictures(processor.image_processor, folder)

    def __call__(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Return tensors."""
        import torch

        prompts, answers = [row["input_ids"] for row in rows], [row.get("labels", []) for row in rows]
        pairs = list(zip(prompts, answers, strict=True))
        width = max(len(prompt) + len(answer) for prompt, answer in pairs)

        def padded(texts: list[list[int]], value: int) -> "torch.Tensor":
            return torch.tensor([text + [value] * (width - len(text)) for text in texts])

        batch = {
            "input_ids": padded([prompt + answer for prompt, answer in pairs], self.padding),
            "attention_mask": padded([[1] * len(prompt + answer) for prompt, answer in pairs], 0),
            "pixel_values": self.pictures([row["image"] for row in rows]),
        }
        if "labels" in rows[0]:
            labels = [[NOTHING] * len(prompt) + answer for prompt, answer in pairs]
            batch["labels"] = padded(labels, NOTHING)
        return batch
