"""How large a training is: weights that are trained and that stay as they are, and the memory that it takes.

Looked at before the first step, and refused where it cannot fit.
"""

import json
import math
import struct
from collections.abc import Sequence
from contextlib import suppress
from fnmatch import fnmatchcase
from itertools import accumulate, chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks.shared import devices
from tasks.shared.errors import InputError, did_you_mean
from tasks.shared.params import Train

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedModel

# bytes: weights, gradients and the optimizer's state are fp32
FLOAT = 4
# numbers of state per trained weight: Adam keeps two moments, Adafactor sums of rows and columns
STATE = {"adamw_torch_fused": 2, "adamw_torch": 2, "adafactor": 0.1, "adagrad": 1, "rmsprop": 1, "sgd": 0}
# bytes that a layer keeps of each token for its backward pass, in multiples of the hidden size: what autograd
# was seen to save of Llama, BERT and GPT-2: 72 to 120 in fp32, 50 to 70 in autocast, which keeps some in fp32
KEPT, KEPT_IN_HALF = 84, 56
# and of each head and pair of tokens, where a CPU's attention has dropout: probabilities before it and after,
# and a mask
ATTENDED = 12
ATTENTION_DROPOUT = ("attention_probs_dropout_prob", "attention_dropout", "attn_pdrop")
# of the logits of a language model: they, their softmax and their gradient
LOGITS = 3
MB = 2**20
# as safetensors itself bears
LONGEST_HEADER = 100 * MB


def freeze(model: "PreTrainedModel", patterns: Sequence[str]) -> None:
    """Have weights stay as they are: those whose name a pattern matches, or that lie in a part of that name.

    Raises InputError for a pattern that matches none, with names that are near,
    and when none is left to train.
    """
    weights = dict(model.named_parameters())
    for pattern in patterns:
        found = [name for name in weights if fnmatchcase(name, pattern) or name.startswith(f"{pattern}.")]
        if not found:
            near = _near(pattern, list(weights))
            raise InputError(f"train.freeze: no weight of this model matches '{pattern}'{near}")
        for name in found:
            weights[name].requires_grad_(requires_grad=False)
    if not any(weight.requires_grad for weight in weights.values()):
        raise InputError(f"train.freeze: {', '.join(patterns)} leave no weight to train; leave out one")


def _near(pattern: str, names: list[str]) -> str:
    """Return the parts of a model that a pattern may mean, or all of its parts near the top."""
    # of a.b.c: a, a.b and a.b.c
    nested = (accumulate(name.split("."), "{}.{}".format) for name in names)
    parts = list(dict.fromkeys(chain.from_iterable(nested)))
    top = [part for part in parts if part.count(".") <= 1]
    hint = did_you_mean(pattern.replace("*", ""), parts) or "."
    return f"{hint} It has parts such as {', '.join(top[:12])}"


def weights_on_disk(base: Path) -> int:
    """Return how many weights a folder holds, by the headers of its safetensors; nothing is loaded."""
    total = 0
    for file in sorted(base.glob("*.safetensors")):
        # one that is damaged is left to whoever loads it
        with suppress(ValueError, LookupError, TypeError, AttributeError, RecursionError, struct.error):
            total += sum(math.prod(its["shape"]) for its in _tensors(file).values())
    return total


def _tensors(file: Path) -> dict[str, Any]:
    """Return what a safetensors file says of each tensor."""
    with file.open("rb") as opened:
        (length,) = struct.unpack("<Q", opened.read(8))
        tensors: dict[str, Any] = json.loads(opened.read(min(length, LONGEST_HEADER)))
    tensors.pop("__metadata__", None)
    return tensors


def refuse_before_loading(base: Path, num_weights: int) -> None:
    """Raise InputError when a model's weights alone, in fp32, are more than the free memory."""
    free = devices.free_memory()
    if free is not None and num_weights * FLOAT > free:
        sizes = f"{num_weights / 1e6:,.0f} million weights, {num_weights * FLOAT / MB:,.0f} MB in fp32"
        left = f"{free / MB:,.0f} MB of memory are free"
        raise InputError(f"model.name: the model in {base} has {sizes}, and {left}; name a smaller one")


def measured(
    model: "PreTrainedModel", params: Train, precision: str, longest: int, written: int | None = None
) -> dict[str, Any]:
    """Return how many weights there are and are trained, and in MB what a step takes, roughly.

    longest: tokens in the longest row. written: tokens in the longest text that a decoder writes; None: as
    many. What activations take is an estimate for a transformer of one width.
    """
    total = sum(weight.numel() for weight in model.parameters())
    trained = sum(weight.numel() for weight in model.parameters() if weight.requires_grad)
    memory = {
        "weights": FLOAT * total,
        "gradients": FLOAT * trained,
        "optimizer": int(STATE[params.optim] * FLOAT * trained),
        "activations": _activations(model, params, precision, longest, written or longest),
    }
    in_mb = {part: round(size / MB, 1) for part, size in memory.items()}
    in_mb["total"] = round(sum(memory.values()) / MB, 1)
    return {"parameters": total, "trainable_parameters": trained, "memory_mb": in_mb}


def _activations(model: "PreTrainedModel", params: Train, precision: str, longest: int, written: int) -> int:
    settings = model.config.get_text_config()
    width = getattr(settings, "hidden_size", None) or 0
    layers = getattr(settings, "num_hidden_layers", None) or 0
    rows = params.per_device_train_batch_size
    # frames are put together before the first layer
    tokens = rows * min(longest, getattr(settings, "max_source_positions", None) or longest)
    is_half = precision != "fp32"
    per_layer = width * (KEPT_IN_HALF if is_half else KEPT)
    per_layer += _attended(settings) * longest
    in_layers = tokens * layers
    if settings.is_encoder_decoder:
        read = in_layers if is_trained(model.get_encoder()) else 0
        in_layers, tokens = read + rows * written * layers, rows * written
    kept = in_layers * per_layer
    if params.activation_checkpointing:
        # the inputs of all layers, and all of one
        kept = in_layers * width * (FLOAT // 2 if is_half else FLOAT) + tokens * per_layer
    if is_half:
        # autocast keeps a copy of the weights
        kept += FLOAT // 2 * sum(weight.numel() for weight in model.parameters())
    head = model.get_output_embeddings()
    vocabulary = head.weight.shape[0] if head is not None and hasattr(head, "weight") else 0
    return kept + tokens * vocabulary * LOGITS * FLOAT


def _attended(settings: Any) -> int:
    """Return the bytes that a layer keeps of a token for each token that it attends to."""
    # the kernels of a GPU keep none, nor do those of a CPU where nothing is dropped
    drops = any(getattr(settings, name, None) for name in ATTENTION_DROPOUT)
    if devices.kind() == "cuda" or not drops:
        return 0
    return ATTENDED * (getattr(settings, "num_attention_heads", None) or 0)


def is_trained(part: "nn.Module") -> bool:
    """Return whether any weight of a part of a model is trained."""
    return any(weight.requires_grad for weight in part.parameters())


def refuse_too_large(size: dict[str, Any], free: int | None, params: Train) -> None:
    """Raise InputError when a step cannot fit.

    That is when all but the activations, and half of what those are estimated at, is more than is free.

    free: bytes that were free before the weights were loaded; None where that is not known.
    """
    memory = size["memory_mb"]
    least = memory["total"] - memory["activations"] / 2
    if free is None or least <= free / MB:
        return
    parts = ", ".join(f"{part} {megabytes:,.0f}" for part, megabytes in memory.items() if part != "total")
    left = f"{free / MB:,.0f} MB of memory are free"
    needs = f"a training step takes about {memory['total']:,.0f} MB ({parts}), and {left}"
    smaller = "a lower train.per_device_train_batch_size or tokenize.max_length"
    if memory["activations"] < least / 2:
        smaller = "a smaller model"
    more = "" if params.activation_checkpointing else ", or train.activation_checkpointing"
    raise InputError(f"{needs}; take {smaller}, or freeze weights (train.freeze){more}")


def in_words(size: dict[str, Any]) -> str:
    """Return one line: how many weights, and what a step takes."""
    total, trained, memory = size["parameters"], size["trainable_parameters"], size["memory_mb"]
    some = "" if trained == total else f", {trained:,} of them trained ({trained / total:.1%})"
    return f"{total:,} weights{some}; a step takes about {memory['total']:,.0f} MB"
