"""Code that a model's files name or hold never runs, not even when standard input says yes; it is refused in one sentence."""

import ast
import json
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoTokenizer

from tasks.problems.common.pretrained import classifier, config
from tasks.shared.base_models import fetch, resolve
from tasks.shared.errors import InputError
from tasks.shared.foreign_code import refuse_code
from tasks.shared.params import Model
from tests.support.loaders import LOADERS
from tests.support.project import ROOT

OWN = {
    "config.json": [
        {"auto_map": {"AutoConfig": "own.Config", "AutoModelForSequenceClassification": "own.Net"}},
        {"auto_map": {"AutoConfig": "own.Config"}, "model_type": "mine"},
        {"auto_map": {"AutoModelForSequenceClassification": "somebody/elsewhere--own.Net"}},
        {"text_config": {"auto_map": {"AutoConfig": "own.Config"}}},
        {"custom_pipelines": {"text-classification": {"impl": "own.Pipe", "pt": ["AutoModel"]}}},
        {"attn_implementation": "somebody/kernel"},
        {"_attn_implementation": {"text_config": "somebody/kernel@main"}},
        {"experts_implementation": "somebody/kernel"},
        {"quantization_config": {"quant_method": "mxfp4"}},
    ],
    "tokenizer_config.json": [
        {"auto_map": {"AutoTokenizer": ["own.Slow", "own.Fast"]}},
        {"auto_map": ["own.Slow", None]},
        {"auto_map": {"AutoTokenizer": ["somebody/elsewhere--own.Slow", None]}, "tokenizer_class": "Mine"},
    ],
    "processor_config.json": [{"auto_map": {"AutoProcessor": "own.Processor"}}],
}
CASES = [(file, more) for file, each in OWN.items() for more in each]
SAY_YES = """
import sys
from pathlib import Path
from tests.support.loaders import LOADERS
for folder in sys.argv[1:]:
    for name, load in LOADERS.items():
        try:
            load(Path(folder))
        except Exception as error:
            print(type(error).__name__)
"""


class Payload:
    """A pickle that makes a file when it is loaded as one."""

    def __init__(self, makes: Path) -> None:
        self.makes = makes

    def __reduce__(self) -> Any:
        return Path.touch, (self.makes,)


def with_settings(model: Path, folder: Path, file: str, more: dict[str, Any]) -> Path:
    """Return a copy of a model whose JSON file says more, with a module beside it that makes `ran` when it is imported."""
    copied = shutil.copytree(model, folder)
    known = json.loads((copied / file).read_text("utf-8")) if (copied / file).exists() else {}
    (copied / file).write_text(json.dumps({**known, **more}), encoding="utf-8")
    ran = folder.parent / "ran"
    (copied / "own.py").write_text(
        f"from pathlib import Path\nPath({str(ran)!r}).touch()\n", encoding="utf-8"
    )
    return copied


@pytest.mark.parametrize(("file", "more"), CASES)
def test_a_config_that_names_code_is_refused_by_every_loader_and_it_is_said_what_and_where(
    tmp_path: Path,
    tiny_model: Path,
    file: str,
    more: dict[str, Any],
) -> None:
    folder = with_settings(tiny_model, tmp_path / "base", file, more)
    for load in LOADERS.values():
        with pytest.raises(InputError) as error:
            load(folder)
        sentence = str(error.value)
        assert f"{file} in '{folder}'" in sentence
        assert "\n" not in sentence
        (key,) = (more.get("text_config") or more).keys() - {"model_type", "tokenizer_class"}
        assert key in sentence or "quantized" in sentence
    assert not (tmp_path / "ran").exists()


@pytest.mark.slow
def test_standard_input_that_says_yes_runs_nothing(tmp_path: Path, tiny_model: Path) -> None:
    folders = [with_settings(tiny_model, tmp_path / f"{number}", *case) for number, case in enumerate(CASES)]
    command = [sys.executable, "-c", SAY_YES, *map(str, folders)]
    done = subprocess.run(command, cwd=ROOT, input="y\n" * 1000, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["InputError"] * len(CASES) * len(LOADERS), "and nothing was asked"
    assert not (tmp_path / "ran").exists()


def test_a_model_of_the_hub_with_code_of_its_own_is_refused_once_it_is_here(
    tmp_path: Path,
    tiny_model: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    commit = "0123456789abcdef0123456789abcdef01234567"
    snapshots = tmp_path / "models--somebody--something/snapshots"
    snapshots.mkdir(parents=True)
    (snapshots.parent / "refs").mkdir()
    (snapshots.parent / "refs/main").write_text(commit)
    with_settings(tiny_model, snapshots / commit, *CASES[0])
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(InputError, match=r"config.json in 'somebody/something' needs code of its own"):
        fetch(Model(name="somebody/something", revision=commit))


def test_what_only_looks_like_code_is_let_through(tmp_path: Path, tiny_model: Path) -> None:
    harmless = {
        "auto_map": {},
        "attn_implementation": "sdpa",
        "quantization_config": None,
        "label2id": {"auto_map": 0, "custom_pipelines": 1},
        "id2label": {"0": "auto_map", "1": "custom_pipelines"},
    }
    folder = with_settings(tiny_model, tmp_path / "base", "config.json", harmless)
    refuse_code(folder)
    assert config(folder).model_type == "bert"


def test_an_adapter_that_would_lead_to_another_model_is_refused(tmp_path: Path, tiny_model: Path) -> None:
    more = {"base_model_name_or_path": "somebody/elsewhere"}
    folder = with_settings(tiny_model, tmp_path / "base", "adapter_config.json", more)
    with pytest.raises(InputError, match=r"is an adapter to another model.*merge it into that one"):
        resolve(Model(name=str(folder)))


# pickles


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["pytorch_model.bin", "pytorch_model-00001-of-00002.bin", "weights.pt", "model.pth"]
)
def test_a_pickle_is_never_loaded_and_converting_it_as_told_runs_none_of_it(
    tmp_path: Path,
    tiny_model: Path,
    name: str,
) -> None:
    folder = shutil.copytree(tiny_model, tmp_path / "it's a model")
    (folder / "model.safetensors").unlink()
    torch.save({"weight": Payload(tmp_path / "ran")}, folder / name)
    if "00001" in name:
        index = {"metadata": {}, "weight_map": {"weight": name}}
        (folder / "pytorch_model.bin.index.json").write_text(json.dumps(index), encoding="utf-8")
    with pytest.raises(InputError) as refused:
        resolve(Model(name=str(folder)))
    assert f"are a pickle, {name}, which is not read" in str(refused.value)
    with pytest.raises(InputError, match="cannot be loaded for classification"):
        classifier(folder, AutoTokenizer.from_pretrained(tiny_model), ["a", "b"])
    python, *words = shlex.split(str(refused.value).partition("convert it once: ")[2])
    assert python == "python"
    done = subprocess.run(
        [sys.executable, *words], capture_output=True, text=True, input="y\n" * 100, check=False
    )
    assert done.returncode != 0
    assert "weights_only" in done.stderr
    assert not (tmp_path / "ran").exists()


@pytest.mark.slow
def test_weights_in_another_pickle_are_converted_as_told(tmp_path: Path, tiny_model: Path) -> None:
    folder = shutil.copytree(tiny_model, tmp_path / "base")
    weights = load_file(folder / "model.safetensors")
    torch.save(weights, folder / "weights.pt")
    (folder / "model.safetensors").unlink()
    with pytest.raises(InputError) as refused:
        resolve(Model(name=str(folder)))
    words = shlex.split(str(refused.value).partition("convert it once: ")[2])[1:]
    subprocess.run([sys.executable, *words], check=True, capture_output=True)
    assert load_file(folder / "model.safetensors").keys() == weights.keys()
    assert resolve(Model(name=str(folder))).revision


# one loader for all


def sources() -> dict[str, str]:
    """Return our own code by module."""
    modules = [path for package in ("tasks", "flows") for path in sorted((ROOT / package).rglob("*.py"))]
    return {path.relative_to(ROOT).as_posix(): path.read_text("utf-8") for path in modules}


def calls(name: str) -> list[tuple[str, ast.Call]]:
    """Return the calls of a function or method of that name in our code, each with its module."""
    nodes = [(module, node) for module, code in sources().items() for node in ast.walk(ast.parse(code))]
    called = [(module, node) for module, node in nodes if isinstance(node, ast.Call)]
    return [
        (module, node)
        for module, node in called
        if name in (getattr(node.func, "id", ""), getattr(node.func, "attr", ""))
    ]


def test_one_folder_loads_what_others_wrote_and_never_their_code() -> None:
    here = '"local_files_only": True, "trust_remote_code": False}'
    loads = calls("from_pretrained")
    ours = {
        "tasks/problems/common/pretrained/configs.py",
        "tasks/problems/common/pretrained/models.py",
        "tasks/problems/common/pretrained/processors.py",
        "tasks/shared/ctranslate2_models.py",
        "tasks/shared/gguf_models.py",
        "tasks/problems/text_generation/adapters.py",
    }
    # these go out with a package, which is then all that they have
    serving = {module for module, _ in loads if module.endswith("/serve.py")}
    assert {module for module, _ in loads} == ours | serving
    for module, call in loads:
        (how,) = {ast.unparse(word.value) for word in call.keywords if word.arg is None} & {
            "HERE",
            "here",
            "pretrained.HERE",
        }
        is_there = "/pretrained/" in module or how == "pretrained.HERE"
        assert is_there or here in sources()[module], ast.unparse(call)
    without = ("Config", "FeatureExtractor", "Processor", "Tokenizer")
    weights = [
        call
        for module, call in loads
        if module in serving and not ast.unparse(call.func.value).endswith(without)
    ]
    assert all("use_safetensors=True" in ast.unparse(call) for call in weights)
    ((module, pipeline),) = calls("pipeline")
    assert module == "tasks/package/serve.py"
    assert "trust_remote_code=False" in ast.unparse(pipeline)


@pytest.mark.parametrize("word", ["import pickle", "torch.load(", "joblib", "allow_pickle"])
def test_our_own_code_loads_no_pickle(word: str) -> None:
    found = {module for module, code in sources().items() if word in code}
    assert found <= {"tasks/shared/base_models.py"}, "which only writes a command for a person to type"
