"""Training that diverges: found before its weights are kept, and said in one sentence with what to change."""

import math
from itertools import chain
from pathlib import Path

from torch import nn
from transformers import TrainingArguments

from tasks.shared.errors import InputError
from tasks.train.sharded import local

USUAL_EPSILON = 1e-8


def check(what: str, value: float, step: int, args: TrainingArguments) -> None:
    """Raise InputError when `value`, found at or after optimizer step `step`, is NaN or infinite."""
    if not math.isfinite(value):
        raise InputError(f"training diverged: {what} at step {step} is {value}; {_advice(args)}")


def check_weights(model: nn.Module, step: int, args: TrainingArguments) -> None:
    """Raise InputError when a weight is NaN or infinite: no loss shows it while no row reads that weight."""
    for name, weight in model.named_parameters():
        if not local(weight).isfinite().all():
            where = f"after step {step} the weights {name} hold NaN or infinity"
            raise InputError(f"training diverged: {where}; {_advice(args)}")


def are_weights_finite(checkpoint: Path) -> bool:
    """Return whether all weights in a checkpoint's safetensors files are finite numbers."""
    from safetensors.torch import load_file

    files = (load_file(file).values() for file in sorted(checkpoint.glob("*.safetensors")))
    return all(bool(weight.isfinite().all()) for weight in chain.from_iterable(files))


def _advice(args: TrainingArguments) -> str:
    """Say what to change, the likeliest first."""
    ways = [f"lower train.learning_rate (now {args.learning_rate:g})"]
    if args.max_grad_norm == 0:
        ways.insert(0, "clip gradients: train.max_grad_norm 1 (now 0)")
    if args.adam_epsilon < USUAL_EPSILON:
        ways.insert(0, f"raise train.adam_epsilon to {USUAL_EPSILON:g} (now {args.adam_epsilon:g})")
    if args.fp16:
        ways.append("set train.precision fp32")
    return ", or ".join(ways)
