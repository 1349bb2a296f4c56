"""One matrix product where self-attention makes three of the same input: its queries, keys and values.

A larger product keeps both cores of a small machine busier, and its input is turned into bf16 once.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - its usual name
from transformers import PreTrainedModel

from tasks.train.cpu.dropout import attention

# of BERT, RoBERTa and ELECTRA; of DistilBERT
NAMES = (("query", "key", "value"), ("q_lin", "k_lin", "v_lin"))


def join(model: PreTrainedModel) -> None:
    """Have a model's self-attention project its input once.

    Its weights, config and state dict stay as they are. For encoders built like BERT and DistilBERT, of plain
    linear layers.
    """
    for module in model.modules():
        for names in NAMES:
            if all(hasattr(module, name) for name in names):
                module.__class__ = type("Joint", (Joint, type(module)), {"names": names})


class Joint(nn.Module):
    """A self-attention that makes its three projections in one product, mixed into the module's own class."""

    names: tuple[str, str, str]
    attention_head_size: int
    scaling: float
    dropout: nn.Dropout
    # DistilBERT's last product is a part of its attention
    out_lin: nn.Linear

    def forward(
        self,
        hidden_states: Tensor,
        attention_mask: Tensor | None = None,
        **kwargs: Any,
    ) -> tuple[Tensor, None]:
        """Attend as the class beside this one does: (batch, length, d) to the same shape."""
        layers = [getattr(self, name) for name in self.names]
        weight, bias = (torch.cat([getattr(layer, kind) for layer in layers]) for kind in ("weight", "bias"))
        widths = [layer.out_features for layer in layers]
        rows = hidden_states.shape[:-1]
        query, key, value = (
            product.view(*rows, -1, self.attention_head_size).transpose(1, 2)
            for product in torch.split(F.linear(hidden_states, weight, bias), widths, dim=-1)
        )
        dropped = self.dropout.p if self.training else 0.0
        made, _ = attention(self, query, key, value, attention_mask, dropped, scaling=self.scaling, **kwargs)
        made = made.reshape(*rows, -1).contiguous()
        return (self.out_lin(made) if hasattr(self, "out_lin") else made), None
