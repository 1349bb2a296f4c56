"""Model inputs as batches of tensors, padded on the right."""

from collections.abc import Mapping
from typing import Any

from tasks.problems.common.lists import IGNORED


def of_model(batch: Mapping[str, Any]) -> dict[str, Any]:
    """Return what of a batch a model is given to predict."""
    return {name: values for name, values in batch.items() if name not in ("labels", "segment", "characters")}


def collated(rows: list[dict[str, Any]], padding: int) -> dict[str, Any]:
    """Return rows as tensors (rows, longest); `characters` (rows,)."""
    import torch

    longest = max(len(row["input_ids"]) for row in rows)
    fill = {"input_ids": padding, "labels": IGNORED, "segment": 0}
    batch: dict[str, Any] = {}
    for name in [name for name in rows[0] if name in (*fill, "position_ids")]:
        padded = []
        for row in rows:
            short = longest - len(row[name])
            padded.append([*row[name], *(range(short) if name == "position_ids" else [fill[name]] * short)])
        batch[name] = torch.tensor(padded, dtype=torch.int64)
    if "position_ids" not in batch:
        lengths = torch.tensor([len(row["input_ids"]) for row in rows])
        batch["attention_mask"] = (torch.arange(longest) < lengths[:, None]).long()
    if "characters" in rows[0]:
        batch["characters"] = torch.tensor([row["characters"] for row in rows])
    return batch


def flat(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Return rows as one, (1, tokens of all): `position_ids` begin anew with each, and nothing is padding.

    transformers makes an attention mask of the positions, or has flash attention go by them. No row's first
    token is to be said by the row before.
    """
    import torch

    batch: dict[str, list[int]] = {"input_ids": [], "labels": [], "position_ids": []}
    for row in rows:
        batch["input_ids"] += row["input_ids"]
        batch["labels"] += [IGNORED, *row["labels"][1:]]
        batch["position_ids"] += row.get("position_ids", range(len(row["input_ids"])))
    return {name: torch.tensor([values]) for name, values in batch.items()}
