"""What computes a model's attention while it is trained: `train.attn_implementation`, judged first."""

import importlib.util
from typing import TYPE_CHECKING

from tasks.shared import devices
from tasks.shared.errors import InputError

if TYPE_CHECKING:
    from transformers import PreTrainedModel

FLASH = "flash_attention_2"
WHERE = "train.attn_implementation"


def choose(model: "PreTrainedModel", wanted: str, precision: str) -> None:
    """Have a model compute attention as wanted; raise InputError where it, or this machine, cannot.

    Flash attention is only for a model on a GPU, in training: `use` chooses it once the model is tried out.
    """
    if wanted == FLASH:
        _refuse_flash(precision)
    elif wanted != "auto":
        use(model, wanted)


def use(model: "PreTrainedModel", wanted: str) -> None:
    """Have a model compute attention as wanted; raise InputError where it cannot.

    The config that is saved does not name it: whoever loads the model chooses anew.
    """
    try:
        model.set_attn_implementation(wanted)
    except (ValueError, ImportError, AttributeError) as error:
        said = " ".join(str(error).split())
        kind = f"{type(model).__name__} cannot compute attention by {wanted}"
        raise InputError(f"{WHERE}: {kind} ({said}); set it to auto") from None
    used = model.config._attn_implementation  # noqa: SLF001 (transformers has no other name for it)
    if used != wanted:
        raise InputError(f"{WHERE}: {type(model).__name__} has no {wanted} and keeps {used}; set it to auto")


def _refuse_flash(precision: str) -> None:
    if devices.kind() == "cpu":
        raise InputError(f"{WHERE}: {FLASH} needs a CUDA device and there is none; set it to auto or sdpa")
    if precision == "fp32":
        raise InputError(f"{WHERE}: {FLASH} computes in bf16 or fp16; set train.precision to bf16")
    if importlib.util.find_spec("flash_attn") is None:
        raise InputError(f"{WHERE}: {FLASH} needs the package flash-attn; docs/gpu.md says how to install it")
