"""Texts, and pairs beside them, as model inputs and as batches of tensors."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from tasks.problems import Encoded
from tasks.problems.common.lists import as_arrow
from tasks.problems.common.text import num_unknown

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

PREFIXES = ("", "pair_")


def encoded(
    processor: "PreTrainedTokenizerBase", rows: pl.DataFrame, labels: Sequence[str], limit: int
) -> Encoded:
    """Return rows as model inputs of at most `limit` tokens.

    rows: texts, and beside them labels or pairs. labels: all of them, in their order.
    `input_ids` list<int32>, and of pairs `pair_input_ids`; `labels` int64, with pairs 0; `length` int32, that
    of the longer text.
    """
    import pyarrow as pa

    number = {label: index for index, label in enumerate(labels)}
    columns, lengths, truncated, unknown = {}, [], np.zeros(rows.height, bool), 0
    for column, prefix in zip(rows.columns, PREFIXES, strict=True):
        if column == "label":
            columns["labels"] = pa.array([number[label] for label in rows[column]], pa.int64())
            continue
        whole = [len(ids) for ids in processor(rows[column].to_list())["input_ids"]]
        ids = processor(rows[column].to_list(), truncation=True, max_length=limit)["input_ids"]
        lengths.append(np.array([len(its) for its in ids]))
        columns[f"{prefix}input_ids"] = as_arrow(ids, lengths[-1])
        unknown += num_unknown(processor, columns[f"{prefix}input_ids"])
        truncated |= np.array(whole) > lengths[-1]
    # the Trainer asks for the loss of what has labels
    columns.setdefault("labels", pa.array(np.zeros(rows.height, np.int64)))
    columns["length"] = pa.array(np.max(lengths, axis=0), pa.int32())
    tokens = int(np.sum(lengths))
    return Encoded(pa.RecordBatch.from_pydict(columns), int(truncated.sum()), unknown, tokens)


def collated(processor: "PreTrainedTokenizerBase", rows: list[dict[str, Any]]) -> Mapping[str, Any]:
    """Return rows as tensors, texts and pairs each as long as the longest of the batch."""
    import torch

    batch: dict[str, Any] = {}
    for prefix in PREFIXES:
        if f"{prefix}input_ids" in rows[0]:
            ids = [row[f"{prefix}input_ids"] for row in rows]
            padded = processor.pad({"input_ids": ids}, return_tensors="pt")
            batch |= {f"{prefix}{name}": padded[name] for name in ("input_ids", "attention_mask")}
    if "labels" in rows[0]:
        batch["labels"] = torch.tensor([row["labels"] for row in rows])
    return batch
