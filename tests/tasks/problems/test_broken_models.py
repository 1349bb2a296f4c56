"""A base model of which a file is broken: one sentence with the folder and what to do, whatever native code says of it."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tasks.problems.common import pretrained
from tasks.problems.common.pretrained.errors import in_words
from tasks.shared.base_models import fetch, resolve
from tasks.shared.errors import InputError, is_memory_full
from tasks.shared.params import Model


def setting(name: str, file: str = "config.json") -> Callable[[Path, Any], None]:
    def change(folder: Path, value: Any) -> None:
        path = folder / file
        path.write_text(json.dumps({**json.loads(path.read_text("utf-8")), name: value}), encoding="utf-8")

    return change


def text(file: str) -> Callable[[Path, Any], None]:
    def change(folder: Path, value: Any) -> None:
        (folder / file).write_text(value, encoding="utf-8")

    return change


def cut(folder: Path, at: Any) -> None:
    name, size = at
    (folder / name).write_bytes((folder / name).read_bytes()[:size])


def header(folder: Path, change: Any) -> None:
    """Write the header of the weights anew, as `change` changes it."""
    file = folder / "model.safetensors"
    raw = file.read_bytes()
    size = int.from_bytes(raw[:8], "little")
    said = json.loads(raw[8 : 8 + size])
    name = max(said)
    new = json.dumps(change(said, name)).encode()
    file.write_bytes(len(new).to_bytes(8, "little") + new + raw[8 + size :])


INDEX = "model.safetensors.index.json"
BROKEN: dict[str, tuple[Callable[[Path, Any], None], Any, str]] = {
    "config that is no JSON": (text("config.json"), "{", "config.json"),
    "config that is a list": (text("config.json"), "[1]", "config.json"),
    "config that is empty": (text("config.json"), "", "config.json"),
    "config nested deep": (text("config.json"), "[" * 100_000, "config.json"),
    "config of no kind": (setting("model_type"), 7, "config.json"),
    "config with words for numbers": (setting("hidden_size"), "x", "config.json"),
    "config with half a character": (setting("hidden_act"), "\ud800", "cannot be loaded"),
    "a million layers": (setting("num_hidden_layers"), 10**6, "says num_hidden_layers 1000000, far more"),
    "a billion labels": (setting("num_labels"), 10**9, "says num_labels 1000000000, far more"),
    "huge layers": (setting("hidden_size"), 10**6, "says hidden_size 1000000, far more"),
    "digits": (setting("num_labels"), 10**4000, "says num_labels 1000"),
    "tokenizer cut off": (cut, ("tokenizer.json", 400), "the tokenizer in"),
    "tokenizer that is empty": (cut, ("tokenizer.json", 0), "the tokenizer in"),
    "tokenizer of another shape": (setting("model", "tokenizer.json"), [], "the tokenizer in"),
    "a limit that is a word": (
        setting("model_max_length", "tokenizer_config.json"),
        "many",
        "model_max_length",
    ),
    "a limit that is a list": (setting("model_max_length", "tokenizer_config.json"), [], "model_max_length"),
    "a limit below one": (setting("model_max_length", "tokenizer_config.json"), -5, "model_max_length"),
    "weights cut off": (cut, ("model.safetensors", 5000), "cannot be loaded for classification"),
    "weights of eight bytes": (cut, ("model.safetensors", 8), "cannot be loaded for classification"),
    "a weight of another shape": (
        header,
        lambda said, name: {**said, name: {**said[name], "shape": [10**12]}},
        "cannot be loaded",
    ),
    "a weight of an unknown type": (
        header,
        lambda said, name: {**said, name: {**said[name], "dtype": "X"}},
        "cannot be loaded",
    ),
    "a weight elsewhere": (
        header,
        lambda said, name: {**said, name: {**said[name], "data_offsets": [0, 10**12]}},
        "cannot be loaded",
    ),
    "weights of another model": (
        header,
        lambda said, _: {at if at == "__metadata__" else f"other.{at}": held for at, held in said.items()},
        "lacks most weights",
    ),
    "an index that is no JSON": (text(INDEX), "{", f"{INDEX} in"),
    "an index that is a list": (text(INDEX), "[]", f"{INDEX} in"),
    "an index of numbers": (text(INDEX), '{"weight_map": {"a": 1, "b": "c"}}', f"{INDEX} in"),
    "an index that leads out": (
        text(INDEX),
        '{"weight_map": {"a": "../../x.safetensors"}}',
        "names '../../x.safetensors'",
    ),
}


def load(folder: Path) -> None:
    """Load all of a model, as the stages do."""
    found = fetch(resolve(Model(name=str(folder))))
    pretrained.classifier(found, pretrained.tokenizer(found, 32), ["a", "b"])


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_file_of_a_base_model_is_said_in_a_sentence_with_what_to_do(
    case: str, tmp_path: Path, tiny_model: Path
) -> None:
    folder = shutil.copytree(tiny_model, tmp_path / "model")
    change, value, says = BROKEN[case]
    change(folder, value)
    with pytest.raises(InputError) as error:
        load(folder)
    said = str(error.value)
    assert said.startswith("model.name: ")
    assert says in said
    assert str(folder) in said
    assert any(remedy in said for remedy in ("anew", "again", "mend", "name another"))
    assert len(said) < 900
    assert "\n" not in said


def test_the_home_of_a_user_who_is_not_here_is_no_model() -> None:
    with pytest.raises(InputError, match="give the whole path"):
        resolve(Model(name="~nobody-at-all/model"))


@pytest.mark.parametrize("empty", [np.empty, torch.empty])
def test_memory_that_is_full_is_no_fault_of_a_model_s(empty: Callable[[int], Any]) -> None:
    with pytest.raises((MemoryError, RuntimeError)) as raised, in_words("model.name: it cannot be loaded"):
        empty(1 << 50)
    assert is_memory_full(raised.value)
