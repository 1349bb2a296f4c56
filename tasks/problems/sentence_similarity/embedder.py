"""A model whose answer is a vector per text, and the losses that bring those of like texts together."""

from itertools import chain
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional
from transformers.modeling_outputs import SequenceClassifierOutput

from tasks.problems.common.predicting import batches

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class Pooled:
    """A base model that answers with the normalised mean of its tokens' vectors; saved, it is the base model.

    logits: (rows, 1, dimensions), with pairs (rows, 2, dimensions).
    """

    config: Any
    temperature: float

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        pair_input_ids: Tensor | None = None,
        pair_attention_mask: Tensor | None = None,
        labels: Tensor | None = None,
    ) -> SequenceClassifierOutput:
        """Return vectors, and the loss of rows with labels or pairs."""
        vectors = [self._embedded(input_ids, attention_mask)]
        loss = None
        if pair_input_ids is not None:
            vectors.append(self._embedded(pair_input_ids, pair_attention_mask))
            same = _equal(input_ids) | _equal(pair_input_ids)
            loss = of_pairs(vectors[0], vectors[1], self.temperature, same)
        elif labels is not None:
            loss = of_labels(vectors[0], labels, self.temperature)
        return SequenceClassifierOutput(loss=loss, logits=torch.stack(vectors, dim=1))

    def _embedded(self, ids: Any, mask: Any) -> Tensor:
        """Return a vector per row.

        What a batch contrasts is drawn at random, so lengths in it differ: a CPU, where padding costs most,
        reads it in parts of like lengths.
        """
        if ids.device.type != "cpu":
            return self._read(ids, mask)
        parts = list(batches(mask.sum(1).tolist(), len(ids)))
        found = [self._read(*_cropped(ids[part], mask[part])) for part in parts]
        order = torch.tensor([*chain.from_iterable(parts)])
        return torch.cat(found)[order.argsort()]

    def _read(self, ids: Tensor, mask: Tensor) -> Tensor:
        given = {"input_ids": ids, "attention_mask": mask}
        if self.config.is_encoder_decoder:
            # the encoder alone reads
            tokens = self.get_encoder()(**given)[0]  # type: ignore[attr-defined]
        else:
            tokens = super().forward(**given)[0]  # type: ignore[misc]
        weights = mask.unsqueeze(-1).to(tokens.dtype)
        return functional.normalize((tokens * weights).sum(1) / weights.sum(1).clamp(min=1), dim=-1)


def _cropped(ids: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Return a batch without the columns that are padding in all of its rows."""
    is_read = mask.any(0)
    return ids[:, is_read], mask[:, is_read]


def pooled(model: "PreTrainedModel", temperature: float) -> "PreTrainedModel":
    """Have a base model answer as `Pooled` does, under its own name and with its own weights."""
    kind = type(model)
    model.__class__ = type(kind.__name__, (Pooled, kind), {"__module__": kind.__module__})
    model.temperature = temperature
    return model


def _equal(ids: Any) -> Tensor:
    """Return which rows of a padded batch are the same tokens, (rows, rows)."""
    _, number = ids.unique(dim=0, return_inverse=True)
    same: Tensor = number.unsqueeze(0) == number.unsqueeze(1)
    return same


def of_pairs(texts: Tensor, pairs: Tensor, temperature: float, same: Tensor) -> Tensor:
    """Return how unlikely each text's pair is among all pairs of the batch, and the other way round.

    Both (rows, dimensions). Multiple negatives (Henderson et al. 2017), symmetric (Radford et al. 2021).
    same (rows, rows): rows of which a text or its pair is the other's too: what is right for both is no
    example of what is wrong.
    """
    itself = torch.eye(len(texts), dtype=torch.bool, device=texts.device)
    similar = (texts @ pairs.T / temperature).masked_fill(same & ~itself, -torch.inf)
    right = torch.arange(len(texts), device=similar.device)
    return (functional.cross_entropy(similar, right) + functional.cross_entropy(similar.T, right)) / 2


def of_labels(vectors: Tensor, labels: Tensor, temperature: float) -> Tensor:
    """Return how unlikely the rows of a row's label are among all others of the batch; 0 if there are none.

    vectors (rows, dimensions), labels (rows,). Supervised contrastive (Khosla et al. 2020, equation 2).
    """
    itself = torch.eye(len(labels), dtype=torch.bool, device=vectors.device)
    similar = (vectors @ vectors.T / temperature).masked_fill(itself, -torch.inf)
    likely = similar.log_softmax(dim=1).masked_fill(itself, 0)
    alike = (labels.unsqueeze(0) == labels.unsqueeze(1)) & ~itself
    counts = alike.sum(1)
    per_row = -(likely * alike).sum(1) / counts.clamp(min=1)
    return per_row.sum() / (counts > 0).sum().clamp(min=1)
