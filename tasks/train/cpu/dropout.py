"""Dropout that costs a CPU what it should: next to nothing beside the matrix products.

torch draws one float64 per element on one thread (`aten::bernoulli_`, wherever MKL does not do it: any CPU
that is not Intel's), and a model drops out some twenty activations a step. A mask needs no more than 16 bits
an element, so one 64-bit draw serves four.
"""

from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

ATTENTION = "sdpa_quick_dropout"
LEVELS = 2**16


def quicken(model: PreTrainedModel) -> None:
    """Have a model on a CPU drop out by `drop`, in its nn.Dropout modules and in its attention.

    Its weights, config and state dict stay as they are. A model that does not dispatch through transformers'
    AttentionInterface, or asks for another attention than sdpa, keeps its own.
    """
    for name, module in list(model.named_modules()):
        if type(module) is nn.Dropout and 0 < module.p < 1:
            model.set_submodule(name, QuickDropout(module.p))
    if getattr(model.config, "_attn_implementation", None) == "sdpa":
        AttentionInterface.register(ATTENTION, attention)
        AttentionMaskInterface.register(ATTENTION, sdpa_mask)
        model.set_attn_implementation(ATTENTION)


def drop(x: Tensor, p: float) -> Tensor:
    """Return x with a share p of its elements zero and the others divided by 1 - p.

    p is rounded to a multiple of 2**-16.
    The bits come from torch's global generator, so torch.manual_seed decides them.
    """
    dropped = round(p * LEVELS)
    words = torch.empty(-(-x.numel() // 4), dtype=torch.int64).random_(-(2**63), None)
    draws = words.view(torch.int16)[: x.numel()].view(x.shape)
    # as int16: turning bool into numbers takes six times as long
    kept = torch.ge(draws, dropped - LEVELS // 2, out=torch.empty_like(draws))
    return x * kept.to(x.dtype).mul_(LEVELS / (LEVELS - dropped))


class QuickDropout(nn.Dropout):
    """nn.Dropout by `drop`, out of place."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - nn.Dropout's own name
        """Drop out while training."""
        return drop(input, self.p) if self.training else input


def attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """Attend as transformers' sdpa does.

    Where that would drop out, softmax(Q K' * scaling + mask) V is written out, as in torch's CPU kernel.
    query, key, value: (batch, heads, length, head size). Returns (batch, length, heads, head size).
    """
    causal = kwargs.get("is_causal")
    causal = attention_mask is None and (getattr(module, "is_causal", True) if causal is None else causal)
    shared_heads = key.shape[1] != query.shape[1]
    asks_for_more = any(kwargs.get(name) is not None for name in ("position_bias", "cache", "softcap"))
    if not 0 < dropout < 1 or causal or shared_heads or asks_for_more:
        given = module, query, key, value, attention_mask
        return sdpa_attention_forward(*given, dropout=dropout, **kwargs)[0], None
    scaling = kwargs.get("scaling") or query.shape[-1] ** -0.5
    # (batch, heads, keys, queries): torch is slow at a softmax over short last dimensions
    scores = key @ (query * scaling).transpose(2, 3)
    mask = None if attention_mask is None else attention_mask.transpose(2, 3)
    if mask is not None and mask.dtype == torch.bool:
        scores = scores.masked_fill(~mask, torch.finfo(scores.dtype).min)
    elif mask is not None:
        scores = scores + mask
    weights = drop(scores.softmax(2, dtype=torch.float32).to(value.dtype), dropout)
    return (weights.transpose(2, 3) @ value).transpose(1, 2).contiguous(), None
