"""LoRA through peft: adapters beside frozen weights, in one checkpoint, merged or apart in a package."""

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks.problems.common import pretrained
from tasks.shared.errors import InputError
from tasks.shared.files import read_json, write_json

if TYPE_CHECKING:
    from transformers import PreTrainedModel

MARK = ".lora_A."
NAME = "default"


def are_in(folder: Path) -> bool:
    """Return whether the weights in a folder, a checkpoint of ours, have adapters among them."""
    from safetensors import safe_open

    file = folder / "model.safetensors"
    if not file.exists():
        return False
    with safe_open(file, "pt") as opened:
        return any(MARK in name for name in opened.keys())  # noqa: SIM118 (no dictionary)


def add(model: "PreTrainedModel", params: Any) -> None:
    """Give linear layers adapters and freeze all else.

    They start as no change, drawn from the current torch seed.
    Raises InputError when no layer has such a name.
    """
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError:
        missing = "text_generation.lora.r asks for adapters, and the Python package peft is not installed"
        raise InputError(f"{missing}; `pip install 'retrain[peft]'`, or set it to 0") from None

    config = LoraConfig(
        r=params.r,
        lora_alpha=params.alpha,
        lora_dropout=params.dropout,
        target_modules=sorted(params.target_modules) or linear(model),
        task_type="CAUSAL_LM",
    )
    try:
        inject_adapter_in_model(config, model, NAME)
    except ValueError as error:
        said = " ".join(str(error).split())[:200]
        raise InputError(
            f"text_generation.lora.target_modules: {said}; known: {', '.join(linear(model))}"
        ) from None


def linear(model: "PreTrainedModel") -> list[str]:
    """Return the last names of the linear layers but the head, sorted; GPT-2 calls its own Conv1D."""
    head = model.get_output_embeddings()
    kinds = ("Linear", "Conv1D")
    found = {
        name.rsplit(".", 1)[-1]
        for name, layer in model.named_modules()
        if type(layer).__name__ in kinds and layer is not head
    }
    return sorted(found)


def load(config: Any, folder: Path, params: Any) -> "PreTrainedModel":
    """Load a checkpoint with adapters."""
    from safetensors.torch import load_model
    from transformers import AutoModelForCausalLM, GenerationConfig

    model: PreTrainedModel = AutoModelForCausalLM.from_config(config, dtype="float32")
    model.generation_config = GenerationConfig.from_pretrained(folder, **pretrained.HERE)
    add(model, params)
    load_model(model, folder / "model.safetensors")
    return model


def export(model: "PreTrainedModel", checkpoint: Path, out: Path, *, merge: bool) -> None:
    """Write a package of a model with adapters.

    merge: into weights that transformers alone loads; else the base's weights with the adapters in files of
    their own, which transformers puts together where peft is installed.
    """
    from peft import get_peft_model_state_dict
    from safetensors.torch import save_file

    for file in sorted(checkpoint.iterdir()):
        if not file.name.endswith(".safetensors"):
            shutil.copyfile(file, out / file.name)
    if not merge:
        state = get_peft_model_state_dict(model, adapter_name=NAME)
        names = {f"base_model.model.{name}": weight.contiguous() for name, weight in state.items()}
        save_file(names, out / "adapter_model.safetensors", metadata={"format": "pt"})
        model.peft_config[NAME].save_pretrained(out)
        # peft keeps sets, whose order is another in each process
        settings = read_json(out / "adapter_config.json")
        for name, value in settings.items():
            if isinstance(value, list):
                settings[name] = sorted(value)
        write_json(
            out / "adapter_config.json",
            dict(sorted(settings.items())) | {"base_model_name_or_path": ".", "inference_mode": True},
        )
    _take_out(model, merge=merge)
    model.save_pretrained(out)


def _take_out(model: "PreTrainedModel", *, merge: bool) -> None:
    """Put each layer with an adapter back in its place, with what the adapter adds or without."""
    from peft.tuners.lora import LoraLayer

    for name, layer in list(model.named_modules()):
        if isinstance(layer, LoraLayer):
            if merge:
                layer.merge(safe_merge=True)
            above, _, last = name.rpartition(".")
            setattr(model.get_submodule(above), last, layer.get_base_layer())
    del model.peft_config
