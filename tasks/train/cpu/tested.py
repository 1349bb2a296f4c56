"""Which trainings the shortcuts were tested with: these alone get them."""

from collections.abc import Mapping
from copy import deepcopy
from enum import Enum
from typing import Any

import torch
import transformers
from datasets import Dataset
from torch import nn
from transformers import DataCollatorWithPadding, PreTrainedModel, Trainer

# MiniLM's models are of the first and the last two kinds
MODELS = frozenset(
    {
        "BertForSequenceClassification",
        "DistilBertForSequenceClassification",
        "ElectraForSequenceClassification",
        "RobertaForSequenceClassification",
        "XLMRobertaForSequenceClassification",
    }
)
# what reaches into a model, or takes all weights of a table together; and what it was in the tests
CONFIG: dict[str, tuple[Any, ...]] = {
    "_attn_implementation": ("sdpa",),
    "add_cross_attention": (False,),
    "chunk_size_feed_forward": (0,),
    "is_decoder": (False,),
    "output_attentions": (False,),
    "output_hidden_states": (False,),
}
ARGUMENTS: dict[str, tuple[Any, ...]] = {
    "activation_checkpointing": (False,),
    "debug": ([],),
    "neftune_noise_alpha": (None,),
    "optim": ("adamw_torch", "adamw_torch_fused"),
    "torch_compile": (False,),
    "world_size": (1,),
}
HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
GRADIENT_HOOKS = ("_backward_hooks", "_post_accumulate_grad_hooks")


def why_not(trainer: Trainer) -> str:
    """Return in what a training differs from those that were tested; empty where it is one of them."""
    model, kind = trainer.model, type(trainer.model)
    # a class of one's own may bear the same name
    if kind.__name__ not in MODELS or kind is not getattr(transformers, kind.__name__):
        return f"they were tested with {', '.join(sorted(MODELS))}, and this is a {kind.__name__}"
    other = _other(model.config, CONFIG) or _other(trainer.args, ARGUMENTS)
    return other or _other_weights(model) or _other_build(model) or _other_batches(trainer)


def _other(settings: Any, tested: Mapping[str, tuple[Any, ...]]) -> str:
    """Return which setting is one that was not tested; a model that lacks it counts as tested."""
    for name, values in tested.items():
        value = getattr(settings, name, values[0])
        if value not in values:
            said = value.value if isinstance(value, Enum) else value
            return f"they were tested with {name} {' or '.join(map(str, values))}, and it is {said}"
    return ""


def _other_weights(model: PreTrainedModel) -> str:
    """Return which weight is not trained, or is none of fp32 in the memory of the CPU."""
    for name, weight in model.named_parameters():
        if not weight.requires_grad:
            return f"{name} is frozen"
        if weight.dtype != torch.float32 or weight.device.type != "cpu":
            return f"{name} is {weight.dtype} on {weight.device}"
    return ""


def _other_build(model: PreTrainedModel) -> str:
    """Return what of a model was changed after it was built: a part replaced, a weight shared, a hook.

    It is compared with a model of its class and config, built without memory and without a random number.
    """
    with torch.device("meta"):
        built = type(model)(deepcopy(model.config))
    changed = set(_parts(model)) ^ set(_parts(built))
    return f"{min(changed)[0] or 'the model'} is not as transformers builds it" if changed else ""


def _parts(model: nn.Module) -> list[tuple[str, str]]:
    """Return what each module and each weight is, by its name; a weight with two names comes once."""
    parts = []
    for name, module in model.named_modules():
        hooks = sum(len(getattr(module, kind)) for kind in HOOKS)
        kind = type(module)
        what = f"{kind.__module__}.{kind.__qualname__}({module.extra_repr()})"
        parts.append((name, f"{what} {hooks} hooks {'forward' in vars(module)}"))
    for name, weight in model.named_parameters():
        hooks = sum(len(getattr(weight, kind) or ()) for kind in GRADIENT_HOOKS)
        parts.append((name, f"{tuple(weight.shape)} {hooks} hooks"))
    return parts


def _other_batches(trainer: Trainer) -> str:
    """Return whether batches may hold token ids that no row does, or rows that do not stand in a table."""
    rows, collator = trainer.train_dataset, trainer.data_collator
    is_table = isinstance(rows, Dataset) and rows.format["type"] is None
    if not is_table or "input_ids" not in rows.column_names:
        return "its rows are no table with input_ids"
    if type(collator) is not DataCollatorWithPadding:
        kind = type(collator).__name__
        return f"they were tested with batches of DataCollatorWithPadding, and these are of {kind}"
    return ""
