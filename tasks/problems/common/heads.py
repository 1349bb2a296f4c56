"""What is done to a trained classifier's last layer and config, so that its pipeline answers as it should."""

import json
from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tasks.problems import Collator
from tasks.shared.files import read_json

if TYPE_CHECKING:
    from datasets import Dataset
    from torch import nn
    from transformers import PreTrainedModel

BATCH = 64
# a share of the largest logit by which rounding may change another
SAME = 1e-3
# temperatures that are tried, from half as sure to five times as sure
TEMPERATURES = np.geomspace(0.2, 5, 401)


def last_layer(model: "PreTrainedModel") -> "nn.Linear | None":
    """Return the linear layer that a head ends with; None where it does not end so."""
    ends = _ends(model)
    return ends[-1][1] if ends else None


def _ends(model: "PreTrainedModel") -> "list[tuple[str, nn.Linear]]":
    """Return the linear layers, with their names, that answer with a number per label, the last one last."""
    from torch import nn

    layers = [(name, part) for name, part in model.named_modules() if isinstance(part, nn.Linear)]
    return [(name, layer) for name, layer in layers if layer.out_features == model.config.num_labels]


def logits(model: "PreTrainedModel", collate: Collator, data: "Dataset") -> np.ndarray:
    """Return a sequence classifier's logits (rows, labels) float32, in the order of the rows."""
    import torch

    lengths = data.data["length"].to_numpy()
    order = np.argsort(lengths, kind="stable")
    rows = data.remove_columns(["length", "labels"])
    found = np.zeros((len(rows), model.config.num_labels), np.float32)
    model.to("cuda" if torch.cuda.is_available() else "cpu").eval()
    with torch.inference_mode():
        for start in range(0, len(order), BATCH):
            some = order[start : start + BATCH]
            batch = collate([rows[int(row)] for row in some])
            batch = {name: tensor.to(model.device) for name, tensor in batch.items()}
            found[some] = model(**batch).logits.float().cpu().numpy()
    return found


def rescale(model: "PreTrainedModel", factor: float, offset: float = 0.0) -> None:
    """Have a model answer `factor` times what it does, and `offset` more, by its last layer's own weights."""
    layer = last_layer(model)
    if layer is not None:
        _rescale(layer, factor, offset)


def _rescale(layer: "nn.Linear", factor: float, offset: float = 0.0) -> None:
    import torch

    with torch.no_grad():
        layer.weight.mul_(factor)
        if layer.bias is not None:
            layer.bias.mul_(factor).add_(offset)


def divide(
    model: "PreTrainedModel", temperature: float, collate: Collator, data: "Dataset", before: np.ndarray
) -> bool:
    """Have a classifier answer with its logits divided by a temperature; return whether it does now.

    The weights of its last layer are divided; where that is not it, those of all layers that its head ends
    with, whose mean may be the answer, as SwiftFormer's is; else it stays as it was. data, before: rows and
    their logits, of which the first show it.
    """
    few = data.select(range(min(BATCH, len(data))))
    wanted = before[: len(few)] / temperature
    ends, body = _ends(model), f"{model.base_model_prefix}."
    last = [layer for _, layer in ends[-1:]]
    of_head = [layer for name, layer in ends if not name.startswith(body)]
    tries = [last] if of_head == last else [last, of_head]
    for layers in tries:
        kept = [deepcopy(layer.state_dict()) for layer in layers]
        for layer in layers:
            _rescale(layer, 1 / temperature)
        apart = np.abs(logits(model, collate, few) - wanted).max()
        if apart <= SAME * np.abs(wanted).max():
            return True
        for layer, state in zip(layers, kept, strict=True):
            layer.load_state_dict(state)
    return False


def temperature(answers: np.ndarray, labels: np.ndarray) -> float:
    """Return what to divide logits (n, labels) by for labels (n,) to be likeliest (Guo et al. 2017)."""
    losses = []
    for tried in TEMPERATURES:
        scaled = answers.astype(np.float64) / tried
        scaled -= scaled.max(axis=1, keepdims=True)
        likely = scaled[np.arange(len(labels)), labels] - np.log(np.exp(scaled).sum(axis=1))
        losses.append(-likely.mean())
    return float(TEMPERATURES[int(np.argmin(losses))])


def write_config(folder: Path, values: Mapping[str, Any]) -> None:
    """Write values into a model's config.json, where transformers keeps what it does not know itself."""
    file = folder / "config.json"
    settings = {**read_json(file), **values}
    text = json.dumps(settings, indent=2, sort_keys=True, ensure_ascii=False)
    file.write_text(text + "\n", encoding="utf-8")
