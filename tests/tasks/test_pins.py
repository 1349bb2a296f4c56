"""Pinned versions: one number wherever they stand, and no stage runs with another."""

import re
import shutil
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest

from tasks.shared import stage
from tasks.shared.errors import InputError
from tests.support.project import ROOT
from tests.support.wait import PATIENCE

PYPROJECT = ROOT / "pyproject.toml"
PROBLEM = "text_classification"


def pinned_in(folder: Path, package: str, version: str) -> Path:
    """Write a pins.yaml with one pin."""
    (folder / "pins.yaml").write_text(f'core:\n  {package}: "{version}"\n', encoding="utf-8")
    return folder


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def constraints() -> dict[str, str]:
    lines = [
        line.split("#")[0].strip() for line in (ROOT / "constraints.txt").read_text("utf-8").splitlines()
    ]
    return {canonical(name): version for name, _, version in (line.partition("==") for line in lines if line)}


def test_every_pin_is_that_of_constraints_txt() -> None:
    pins, locked = stage.pins(PROBLEM, ROOT), constraints()
    assert pins == {name: locked[canonical(name)] for name in pins}


def test_every_constraint_is_exact() -> None:
    assert all(re.fullmatch(r"\d[\w.!]*", version) for version in constraints().values())


def test_everything_that_the_project_depends_on_is_constrained() -> None:
    project = tomllib.loads(PYPROJECT.read_text("utf-8"))["project"]
    wanted = [
        *project["dependencies"],
        *(name for extra in project["optional-dependencies"].values() for name in extra),
    ]
    names = {canonical(re.split(r"[=<>!~ ;\[]", name)[0]) for name in wanted}
    assert names <= constraints().keys()
    assert {canonical(name) for name in stage.pins(PROBLEM, ROOT)} <= names


def test_the_installed_versions_are_the_pinned_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    stage.check_pins(PROBLEM)


def test_another_version_is_refused_with_both_and_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(pinned_in(tmp_path, "numpy", "0.0.1"))
    with pytest.raises(
        InputError,
        match=rf"numpy {re.escape(metadata.version('numpy'))} is installed but 0\.0\.1 is pinned .*`make install`",
    ):
        stage.check_pins(PROBLEM)


def test_a_version_that_only_begins_alike_is_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    installed = metadata.version("numpy")
    for pin in (f"{installed}0", installed.rpartition(".")[0]):
        monkeypatch.chdir(pinned_in(tmp_path, "numpy", pin))
        with pytest.raises(InputError, match="numpy"):
            stage.check_pins(PROBLEM)


def test_a_build_for_another_device_is_the_same_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(pinned_in(tmp_path, "torch", metadata.version("torch").split("+")[0]))
    stage.check_pins(PROBLEM)


def test_a_library_that_is_not_installed_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(pinned_in(tmp_path, "no-such-distribution", "1.0"))
    with pytest.raises(
        InputError,
        match=r"no-such-distribution 1.0 is pinned in pins.yaml but not installed; run `make install`",
    ):
        stage.check_pins(PROBLEM)


def test_a_stage_with_another_version_ends_with_status_1_and_one_sentence(tmp_path: Path) -> None:
    pinned_in(tmp_path, "numpy", "0.0.1")
    shutil.copy(ROOT / "params.yaml", tmp_path)
    code = "from tasks.shared.stage import stage\nwith stage('split'): print('it ran')"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("error: split: numpy ")
    assert len(done.stderr.splitlines()) == 1


def test_the_file_with_hashes_pins_the_same_and_every_line_has_a_hash() -> None:
    entries = re.split(r"\n(?! )", (ROOT / "deploy/requirements-hashed.txt").read_text("utf-8").strip())
    hashed = {
        canonical(name): version
        for name, _, version in (entry.split(" ")[0].partition("==") for entry in entries)
    }
    # its builds differ by index
    without = {"torch"}
    assert hashed == {name: version for name, version in constraints().items() if name not in without}
    assert all(re.search(r"--hash=sha256:[0-9a-f]{64}\b", entry) for entry in entries)


def test_what_builds_packages_is_pinned_too() -> None:
    assert tomllib.loads(PYPROJECT.read_text("utf-8"))["build-system"]["requires"] == [
        f"setuptools=={constraints()['setuptools']}"
    ]


def test_images_and_actions_are_named_by_what_they_hold() -> None:
    image = re.compile(r"^(?:FROM|\s+image:) (\S+)$", re.MULTILINE)
    action = re.compile(r"uses: (\S+)")
    deploy = [
        image.findall((ROOT / "deploy" / name).read_text("utf-8")) for name in ("Dockerfile", "compose.yaml")
    ]
    outside = [name for names in deploy for name in names if name != "retrain:local"]
    assert outside
    assert all(re.search(r"@sha256:[0-9a-f]{64}$", name) for name in outside)
    used = action.findall((ROOT / ".github/workflows/ci.yml").read_text("utf-8"))
    assert used
    assert all(re.search(r"@[0-9a-f]{40}$", name) for name in used)
