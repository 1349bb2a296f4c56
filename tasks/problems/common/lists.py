"""Columns of lists: in Arrow, and as the rows of a batch that are made equally long."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np

from tasks.problems import Collator

if TYPE_CHECKING:
    import pyarrow as pa
    from transformers import PreTrainedTokenizerBase

# a label that no loss counts (torch's `ignore_index`)
IGNORED = -100


def as_arrow(rows: Iterable[Sequence[int]], lengths: np.ndarray | None = None) -> "pa.ListArray":
    """Return rows of numbers as list<int32>; lengths (n,): how many each has, where that is known."""
    import pyarrow as pa

    if lengths is None:
        rows = list(rows)
        lengths = np.array([len(row) for row in rows], np.int32)
    offsets = np.concatenate(([0], np.cumsum(lengths))).astype(np.int32)
    flat = np.fromiter(chain.from_iterable(rows), np.int32, int(offsets[-1]))
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(flat))


def padded(processor: "PreTrainedTokenizerBase", fillers: Mapping[str, int]) -> Collator:
    """Return what pads a batch to its longest row: the tokenizer its columns, those of `fillers` by them."""
    from transformers import DataCollatorWithPadding

    with_padding = DataCollatorWithPadding(processor)

    def collate(rows: list[dict[str, Any]]) -> Mapping[str, Any]:
        import torch

        own = [{name: value for name, value in row.items() if name not in fillers} for row in rows]
        batch = dict(with_padding(own))
        longest = batch["input_ids"].shape[1]
        for name in fillers:
            if name not in rows[0]:
                continue
            lists = []
            for row in rows:
                filling = [fillers[name]] * (longest - len(row[name]))
                lists.append(
                    [*row[name], *filling] if processor.padding_side == "right" else [*filling, *row[name]]
                )
            batch[name] = torch.tensor(lists, dtype=torch.int64)
        return batch

    return collate
