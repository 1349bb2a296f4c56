"""Train the embedding rows that the training data uses, and leave alone those that it never meets.

A vocabulary holds 30,000 to 250,000 tokens, and a few thousand of them occur in what a model is fine-tuned
on. Yet every step makes a gradient as large as the whole table and takes it through clipping and AdamW, which
does nothing to the rows that never occur but shrink them a little.
"""

from typing import Any

import pyarrow.compute as pc
import torch
from datasets import Dataset
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - its usual name
from transformers import PreTrainedModel, PreTrainedTokenizerBase


def occurring(rows: Dataset, tokenizer: PreTrainedTokenizerBase) -> set[int]:
    """Return the token ids in some rows, and those of the special tokens: one of them pads batches."""
    found = (pc.unique(chunk.flatten()).to_pylist() for chunk in rows.data["input_ids"].chunks)
    return set(tokenizer.all_special_ids).union(*found)


def narrow(model: PreTrainedModel, used: set[int]) -> None:
    """Have a model train only the `used` rows of its token embedding; its state dict stays as it is.

    A model that names tokens in its output or its labels too, or whose embedding is frozen or no plain
    nn.Embedding, is left as it is.
    """
    table = model.get_input_embeddings()
    is_plain = type(table) is nn.Embedding and table.weight.requires_grad
    if not is_plain or model.get_output_embeddings() is not None:
        return
    # a tokenizer may name special tokens that the model never had
    rows = sorted(row for row in used if row < table.num_embeddings)
    model.set_input_embeddings(NarrowEmbedding(table, rows))


class NarrowEmbedding(nn.Embedding):
    """An nn.Embedding that trains some rows of its `weight` (vocabulary, d), as `trained` (rows, d).

    The others are frozen. In training mode it takes only ids of these rows, and raises IndexError for others.
    """

    def __init__(self, table: nn.Embedding, rows: list[int]) -> None:
        size = table.num_embeddings, table.embedding_dim
        super().__init__(*size, table.padding_idx, _weight=table.weight.detach(), _freeze=True)
        self.rows = torch.tensor(rows)
        # of an id among the rows
        self.places = torch.full(size[:1], -1).index_copy(0, self.rows, torch.arange(len(rows)))
        self.trained = nn.Parameter(self.weight[self.rows], table.weight.requires_grad)
        self.trained_padding = rows.index(table.padding_idx) if table.padding_idx in rows else None

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - nn.Embedding's own name
        """Look up ids (...) as vectors (..., d)."""
        if self.training:
            return F.embedding(self.places[input], self.trained, self.trained_padding)
        self.merge()
        return super().forward(input)

    @torch.no_grad()
    def merge(self) -> None:
        """Bring the table up to date with its trained rows."""
        self.weight[self.rows] = self.trained

    def _save_to_state_dict(
        self,
        destination: dict[str, Any],
        prefix: str,
        keep_vars: bool,  # noqa: FBT001 - nn.Module's own
    ) -> None:
        self.merge()
        super()._save_to_state_dict(destination, prefix, keep_vars)
        del destination[f"{prefix}trained"]

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        table = state_dict[f"{prefix}weight"]
        super()._load_from_state_dict({**state_dict, f"{prefix}trained": table[self.rows]}, prefix, *rest)
