"""A run that starts from the package of another: what it started from stays, and is told."""

import shutil
from pathlib import Path

import pytest

from tasks.shared import base_models
from tasks.shared.base_models import fetch, resolve, warm_folder
from tasks.shared.errors import InputError
from tasks.shared.files import folder_digest, read_json
from tasks.shared.params import Model
from tasks.shared.params_file import load
from tests.support.project import ROOT, Project
from tests.support.way import way

pytestmark = pytest.mark.usefixtures("forked_serving")


def test_the_present_package_is_kept_and_stays_what_it_was(
    tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    package = shutil.copytree(tiny_model, tmp_path / "models/package")
    model = resolve(Model(name="models/package"))
    assert model.revision == f"sha256:{folder_digest(package)}"
    (package / "config.json").write_text("{}", encoding="utf-8")
    assert resolve(model) == model, "the next run does not start from its own result"
    assert fetch(model) == warm_folder(str(model.revision))
    assert folder_digest(fetch(model)) == folder_digest(tiny_model)
    assert resolve(model.model_copy(update={"revision": None})) != model


def test_without_a_package_that_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="there is no package in models/package"):
        resolve(Model(name="models/package"))
    with pytest.raises(InputError, match="`retrain run` gets it out of the DVC cache"):
        fetch(Model(name="exp:kept", revision="sha256:0"))


@pytest.mark.slow
def test_the_package_names_the_run_that_it_started_from(
    tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(ROOT / "pins.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)
    first = way(tmp_path, tiny_model, train={"max_steps": 2})
    for stage in (first.tokenize, first.train, first.evaluate, first.package):
        stage()
    base = Path("models/package")
    digest, splits = folder_digest(base), read_json(base / "provenance.json")["data"]["splits"]
    second = way(tmp_path / "second", base, train={"max_steps": 2})
    second.tokenize()
    assert "warnings" not in second.train(), "a head for the same labels is kept"
    second.evaluate()
    second.package()
    told = read_json(second.paths.package / "provenance.json")["started_from"]
    assert (told["name"], told["revision"]) == ("models/package", f"sha256:{digest}")
    assert told["splits"] == splits
    assert told["model"]["name"] == str(tiny_model)


@pytest.mark.slow
def test_a_run_starts_from_the_package_of_a_commit(trained: Project, server: str) -> None:
    """And the same command does not start from its own result."""
    trained.env["PREFECT_API_URL"] = server
    commit = trained.run("git", "rev-parse", "HEAD").stdout.strip()
    package = folder_digest(trained.root / "models/package")
    shutil.rmtree(trained.root / "models/package")
    trained.retrain("--model.name", f"exp:{commit}", "--train.max-steps", "3")
    params = load(trained.root / "params.yaml")
    assert params.model.revision == f"sha256:{package}"
    assert (
        read_json(trained.root / "models/package/provenance.json")["started_from"]["name"] == f"exp:{commit}"
    )
    assert (trained.root / base_models.BASES).is_dir()
