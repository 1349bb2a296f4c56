"""Checkpoints under FSDP: weights as transformers has them, and of each process what it alone holds.

Each process writes its shards of the optimizer's state into a safetensors file, with the rest of it (numbers,
the schedule, random states) as JSON beside it. So nothing is unpickled, and no process ever holds the state
of another. torch's own sharded checkpoints keep their index as a pickle.
"""

import json
import random
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from accelerate import Accelerator, DistributedType, FullyShardedDataParallelPlugin
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from transformers import PreTrainedModel, TrainingArguments

from tasks.problems import Problem
from tasks.shared import devices
from tasks.shared.errors import InputError
from tasks.shared.files import read_json, replace
from tasks.shared.params import Train
from tasks.train import checkpoints

if TYPE_CHECKING:
    from tasks.train.trainer import SeededTrainer

# what their states are like is known: as a weight, or one number
OPTIMIZERS = ("adamw_torch", "adamw_torch_fused", "sgd")
INDEX = "model.safetensors.index.json"
WEIGHTS = "model.safetensors"


def enable(accelerator: Accelerator, args: TrainingArguments) -> None:
    """Have an accelerator shard models, as `AcceleratorState` decides by itself where there are GPUs."""
    plugin = FullyShardedDataParallelPlugin(**args.fsdp_plugin_args)
    if accelerator.mixed_precision != "no":
        plugin.set_mixed_precision(accelerator.mixed_precision)
    accelerator.state.fsdp_plugin = plugin
    accelerator.state.distributed_type = DistributedType.FSDP


def settle(plugin: FullyShardedDataParallelPlugin, model: PreTrainedModel) -> None:
    """Have a model sharded layer by layer, and its weights stay fp32: half precision is autocast's, as ever.

    accelerate would have all weights and losses in half precision, where a loss of 1 has three digits.
    """
    plugin.transformer_cls_names_to_wrap = layers(model)
    plugin.mixed_precision_policy = None


def layers(model: PreTrainedModel) -> list[str]:
    """Return the classes of the parts that become a shard each: layers, as transformers knows them.

    Not a part with the embeddings of tokens in it (BertEmbeddings): accelerate shards those by themselves.
    """
    alone = _embeddings(model)
    found = []
    for name in sorted(model._no_split_modules or ()):  # noqa: SLF001 (accelerate goes by it too)
        parts = [part for part in model.modules() if type(part).__name__ == name]
        within = chain.from_iterable(part.modules() for part in parts)
        if parts and not any(each in alone for each in within):
            found.append(name)
    return found


def _embeddings(model: PreTrainedModel) -> list[nn.Module | None]:
    """Return what embeds a model's inputs, and what makes tokens of its outputs; raise InputError."""
    try:
        return [model.get_input_embeddings(), model.get_output_embeddings()]
    except NotImplementedError:
        kind = f"fsdp does not know what embeds the inputs of a {type(model).__name__}"
        raise InputError(f"train.distributed.strategy: {kind}; set it to ddp") from None


def refuse(model: PreTrainedModel, problem: Problem, params: Train) -> None:
    """Raise InputError for what FSDP cannot shard, or a checkpoint of shards cannot hold."""
    where = "train.distributed.strategy"
    if params.optim not in OPTIMIZERS:
        raise InputError(
            f"train.optim: under fsdp it is one of {', '.join(OPTIMIZERS)}, and not {params.optim}; "
            f"set one of them, or {where} to ddp"
        )
    if getattr(model, "_hf_peft_config_loaded", False):
        raise InputError(
            f"{where}: fsdp shards all weights of a model, and this one has adapters; set it to ddp"
        )
    if not problem.reads_at_once:
        parts = f"a model of {problem.task} reads the rows of a step in parts, as many as they need"
        raise InputError(f"{where}: {parts}, and under fsdp processes read together; set it to ddp")
    for name, weight in model.named_parameters():
        if weight.dim() == 0:
            raise InputError(f"{where}: fsdp cannot shard {name}, which is one number; set it to ddp")
    if shared := _shared(model):
        what = f"fsdp cannot shard {shared}, which several parts of the model share"
        raise InputError(f"{where}: {what}; set it to ddp")


def _shared(model: PreTrainedModel) -> str:
    """Return a weight that is tied otherwise than input and output embeddings are; empty without one."""
    known = {id(part) for part in _embeddings(model)}
    owners: dict[int, set[int]] = {}
    for module in model.modules():
        for weight in module.parameters(recurse=False):
            owners.setdefault(id(weight), set()).add(id(module))
    for name, weight in model.named_parameters():
        its = owners[id(weight)]
        if len(its) > 1 and not its <= known:
            return str(name)
    return ""


def save(run: "SeededTrainer", folder: Path) -> None:
    """Write what this process alone holds: shards of the optimizer's state, the schedule, random states."""
    folder.mkdir(parents=True, exist_ok=True)
    state = _optimizer(run).state_dict()
    tensors, rest = {}, {}
    for number, its in state["state"].items():
        for name, value in its.items():
            if isinstance(value, Tensor):
                tensors[f"{number}.{name}"] = local(value).detach().cpu().contiguous()
            else:
                rest[f"{number}.{name}"] = value
    tensors |= {f"random.{name}": told for name, told in _random_tensors().items()}
    save_file(tensors, folder / f"{_name(run)}.safetensors")
    groups = [
        {name: told for name, told in group.items() if name != "params"} for group in state["param_groups"]
    ]
    said = {
        "state": rest,
        "param_groups": groups,
        "schedule": run.lr_scheduler.state_dict(),
        "scaler": run.accelerator.scaler.state_dict() if run.accelerator.scaler is not None else None,
        "random": {"python": random.getstate(), "numpy": _numpy_state()},
    }
    # floats as they are: they are written so that the same are read
    replace(folder / f"{_name(run)}.json", json.dumps(said))


def whole(model: nn.Module, *, is_first: bool) -> dict[str, Tensor]:
    """Return all weights and buffers, in the first process's memory; nothing in others, which take part.

    One after another, so that no device holds more than one of them whole. What is tied stays one tensor.
    """
    known: dict[int, Tensor] = {}
    names = model.state_dict().keys()
    found = {}
    for name, held in [*model.named_parameters(remove_duplicate=False), *model.named_buffers()]:
        if name in names and id(held) not in known:
            full = held.full_tensor() if isinstance(held, DTensor) else held
            known[id(held)] = full.detach().cpu() if is_first else full.new_empty(0)
        if name in names:
            found[name] = known[id(held)]
    return found if is_first else {}


def load(run: "SeededTrainer", folder: Path) -> None:
    """Put back what `save` wrote in this process, but for random states."""
    optimizer = _optimizer(run)
    said, tensors = _read(run, folder)
    weights = [*chain.from_iterable(group["params"] for group in optimizer.param_groups)]
    whole = optimizer.state_dict()
    state: dict[int, dict[str, Any]] = {}
    for key, value in [*tensors.items(), *said["state"].items()]:
        number, _, name = key.partition(".")
        if number != "random":
            its = state.setdefault(int(number), {})
            its[name] = _like(weights[int(number)], value) if isinstance(value, Tensor) else value
    for group, known in zip(whole["param_groups"], said["param_groups"], strict=True):
        # JSON has no tuples
        group |= {name: tuple(told) if isinstance(told, list) else told for name, told in known.items()}
    optimizer.load_state_dict({"state": state, "param_groups": whole["param_groups"]})
    run.lr_scheduler.load_state_dict(said["schedule"])
    if said["scaler"] is not None:
        run.accelerator.scaler.load_state_dict(said["scaler"])


def load_random(run: "SeededTrainer", folder: Path) -> None:
    """Put back the random states of this process."""
    said, tensors = _read(run, folder)
    version, numbers, gauss = said["random"]["python"]
    random.setstate((version, tuple(numbers), gauss))
    kind, keys, *rest = said["random"]["numpy"]
    np.random.set_state((kind, np.array(keys, np.uint32), *rest))  # noqa: NPY002 (what libraries draw from)
    torch.set_rng_state(tensors["random.cpu"])
    if "random.cuda" in tensors:
        torch.cuda.set_rng_state(tensors["random.cuda"])


def load_weights(model: nn.Module, folder: Path) -> None:
    """Read this process's part of each weight; the files are those that transformers reads."""
    files = (
        sorted(set(read_json(folder / INDEX)["weight_map"].values()))
        if (folder / INDEX).exists()
        else [WEIGHTS]
    )
    waiting = dict(model.state_dict())
    with torch.no_grad():
        for file in files:
            with safe_open(folder / file, framework="pt") as opened:
                # a weight that is tied to another is saved under one name alone
                for name in waiting.keys() & opened.keys():
                    _fill(waiting[name], opened.get_slice(name))


def local(tensor: Tensor) -> Tensor:
    """Return what this process holds of a tensor."""
    found: Tensor = tensor.to_local() if isinstance(tensor, DTensor) else tensor
    return found


def _fill(weight: Tensor, saved: Any) -> None:
    if not isinstance(weight, DTensor):
        weight.copy_(saved[:] if weight.dim() else saved[...])
        return
    start, count = _rows(weight)
    if count:
        weight.to_local().copy_(saved[start : start + count])


def _rows(weight: DTensor) -> tuple[int, int]:
    """Return where this process's rows of a weight begin, and how many there are."""
    from torch.distributed.tensor._utils import compute_local_shape_and_global_offset

    shape, offset = compute_local_shape_and_global_offset(weight.shape, weight.device_mesh, weight.placements)
    return int(offset[0]), int(shape[0])


def _like(weight: Tensor, held: Tensor) -> Tensor:
    """Return a part of the optimizer's state as it was: sharded as its weight is, or one number."""
    device = local(weight).device
    if not isinstance(weight, DTensor) or held.dim() != weight.dim():
        return held.to(device)
    return DTensor.from_local(
        held.to(device),
        weight.device_mesh,
        weight.placements,
        run_check=False,
        shape=weight.shape,
        stride=weight.stride(),
    )


def _optimizer(run: "SeededTrainer") -> torch.optim.Optimizer:
    optimizer: torch.optim.Optimizer = run.optimizer.optimizer
    return optimizer


def _name(run: "SeededTrainer") -> str:
    return f"{checkpoints.SHARD}{run.together.rank:05}-of-{run.together.size:05}"


def _read(run: "SeededTrainer", folder: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    return read_json(folder / f"{_name(run)}.json"), load_file(folder / f"{_name(run)}.safetensors")


def _random_tensors() -> dict[str, Tensor]:
    on_gpu = {"cuda": torch.cuda.get_rng_state()} if devices.kind() == "cuda" else {}
    return {"cpu": torch.get_rng_state(), **on_gpu}


def _numpy_state() -> list[Any]:
    kind, keys, *rest = np.random.get_state()  # noqa: NPY002
    return [kind, np.asarray(keys).tolist(), *rest]
