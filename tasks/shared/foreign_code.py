"""Code that a model's files name: found before anything is loaded, and refused, because it is never run.

`transformers` runs a model's own Python files when it is told to trust them, fetches kernels that a config
names, and follows an adapter to a base model elsewhere. It is told not to; but then it asks on the terminal,
takes another class in silence, or depends on what else is installed.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tasks.shared.errors import InputError, readable

ADAPTER = "adapter_config.json"
# a class, or a whole pipeline, in a Python file beside the model or in somebody's repository
PYTHON = ("auto_map", "custom_pipelines")
# OWNER/NAME on the hub instead of one of transformers' own
KERNELS = ("attn_implementation", "experts_implementation")
QUANTIZED = "quantization_config"


def refuse_code(folder: Path, name: str | None = None) -> None:
    """Raise InputError when a config beside a model or a tokenizer names code that is not transformers' own.

    name: what the user calls this folder. A config that is no JSON is left to whoever loads it.
    """
    called = name or str(folder)
    if (folder / ADAPTER).exists():
        what = f"'{called}' is an adapter to another model, as its {ADAPTER} says"
        remedy = "merge it into that one, and name the folder with the whole model"
        raise InputError(f"model.name: {what}; {remedy}")
    for file in sorted(folder.glob("*config*.json")):
        for key, value in _settings(file):
            needs = f"{file.name} in '{called}' needs code of its own, which is never run"
            where = f"{needs}: {key} names {_brief(value)}"
            if key in PYTHON:
                without = f"where transformers knows this kind of model itself, a copy without {key} works"
                raise InputError(f"model.name: {where}; name another model ({without})")
            if key.removesuffix("_internal").endswith(KERNELS) and "/" in json.dumps(value):
                raise InputError(f"model.name: {where}; name another model, or a copy without {key}")
            if key == QUANTIZED:
                quantized = f"{file.name} in '{called}' says that its weights are quantized ({_brief(value)})"
                needs = "which only code from elsewhere computes with"
                raise InputError(f"model.name: {quantized}, {needs}; name the model that it was made from")


def _settings(file: Path) -> Iterator[tuple[str, Any]]:
    """Yield each key that is set in a JSON file, at any depth, with its value."""
    try:
        waiting = [json.loads(file.read_text("utf-8"))]
    except (OSError, ValueError, RecursionError):
        return
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            # a number belongs to a label that is called so
            for key, set_to in value.items():
                if set_to and isinstance(set_to, (dict, list, str)):
                    yield key, set_to
        if isinstance(value, (dict, list)):
            waiting.extend(value.values() if isinstance(value, dict) else value)


def _brief(value: Any) -> str:
    """Return the start of a value, on one line."""
    return readable(json.dumps(value))[:100]
