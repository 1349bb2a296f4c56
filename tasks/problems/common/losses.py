"""Losses in which rare labels count for more, as the Trainer takes them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class CrossEntropy:
    """Cross entropy of one label per row (or token), each weighed by `weights` (labels,).

    The mean over rows, not over their weights: where weights are 1 on average, as balanced ones are, a step
    stays as long, however batches are cut for gradient accumulation.
    """

    weights: Sequence[float]
    smoothing: float = 0.0

    def __call__(self, answered: Any, labels: "Tensor", num_items_in_batch: Any = None) -> "Tensor":
        """Return the loss of a batch; labels (rows,), -100 where there is none."""
        from torch.nn import functional

        logits = answered["logits"].float()
        weights = logits.new_tensor(self.weights)
        flat = logits.reshape(-1, logits.shape[-1])
        named = {"weight": weights, "reduction": "sum", "label_smoothing": self.smoothing}
        total = functional.cross_entropy(flat, labels.reshape(-1), **named)
        return total / (labels.ne(-100).sum() if num_items_in_batch is None else num_items_in_batch)


@dataclass(frozen=True)
class Mixed:
    """The loss of rows that are mixed of two, each with its share (Zhang et al. 2018); of others, `one`."""

    one: CrossEntropy

    def __call__(self, answered: Any, labels: "Tensor", num_items_in_batch: Any = None) -> "Tensor":
        """Return the loss of a batch.

        labels: (rows, 3) of both labels and the share of the first; or (rows,) of rows that are not mixed.
        """
        from torch.nn import functional

        if labels.dim() == 1:
            return self.one(answered, labels, num_items_in_batch)
        logits = answered["logits"].float()
        named = {"weight": logits.new_tensor(self.one.weights), "label_smoothing": self.one.smoothing}
        first, second = (
            functional.cross_entropy(logits, labels[:, place].long(), reduction="none", **named)
            for place in (0, 1)
        )
        total = (labels[:, 2] * first + (1 - labels[:, 2]) * second).sum()
        # the Trainer counts three items in each row
        count = len(labels) if num_items_in_batch is None else num_items_in_batch / labels.shape[1]
        return total / count


@dataclass(frozen=True)
class BinaryCrossEntropy:
    """Cross entropy of each label by itself, where a row has it weighed by `weights` (labels,)."""

    weights: Sequence[float]

    def __call__(self, answered: Any, labels: "Tensor", num_items_in_batch: Any = None) -> "Tensor":
        """Return the loss of a batch; labels (rows, labels) of 0 and 1."""
        from torch.nn import functional

        logits = answered["logits"].float()
        weights = logits.new_tensor(self.weights)
        named = {"pos_weight": weights, "reduction": "sum"}
        total = functional.binary_cross_entropy_with_logits(logits, labels, **named)
        return total / (labels.numel() if num_items_in_batch is None else num_items_in_batch)


def balanced(counts: np.ndarray) -> list[float]:
    """Return what weighs all labels alike, as scikit-learn does (King and Zeng 2001): 1 on average over rows.

    counts: train rows of each label, (labels,).
    """
    weights: list[float] = (counts.sum() / (len(counts) * np.maximum(counts, 1))).tolist()
    return weights
