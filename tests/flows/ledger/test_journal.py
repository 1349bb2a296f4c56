"""What stands in a checkout is noted whatever has become of dvc.yaml, of which DVC says what is wrong."""

import shutil
from contextlib import chdir
from pathlib import Path

import pytest

from flows.ledger.journal import Journal
from flows.ledger.stages import Ledger
from tasks.shared.errors import InputError
from tests.support.project import Once
from tests.support.two_stages import start

BROKEN = {
    "a tab": ("stages:\n\ttrain: {}\n", r"dvc\.yaml.*YAML"),
    "nothing": ("", r"^dvc\.yaml has no stage 'train'; `git diff dvc\.yaml`"),
    "no stages": ("vars: [params.yaml]\n", r"^dvc\.yaml has no stage 'train'; `git diff dvc\.yaml`"),
    "a list of stages": ("stages: [train]\n", r"dvc\.yaml.*stages"),
    "empty outputs": ("stages:\n  train:\n    cmd: x\n    outs:\n", r"dvc\.yaml.*outs"),
    "an output that is none": ("stages:\n  train:\n    cmd: x\n    outs: [[model]]\n", r"dvc\.yaml.*outs"),
}


def begin(root: Path) -> None:
    """Do what a run does before its first stage."""
    ledger = Ledger(root)
    assert not ledger.unchanged()
    ledger.command("train")


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_dvc_yaml_is_a_sentence(
    case: str, tmp_path: Path, once: Once, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DVC_SITE_CACHE_DIR", str(tmp_path / "site"))
    root = Path(shutil.copytree(once("small", start), tmp_path / "small"))
    text, told = BROKEN[case]
    (root / "dvc.yaml").write_text(text)
    assert Journal.begin(root).outputs == []
    with chdir(root), pytest.raises(InputError, match=told):
        begin(root)


def test_the_outputs_that_git_keeps_are_noted_with_their_content(tmp_path: Path, once: Once) -> None:
    root = once("small", start)
    journal = Journal.begin(Path(shutil.copytree(root, tmp_path / "small")))
    assert journal.outputs == ["tokens", "model"]
    assert journal.texts["loss.json"] == (root / "loss.json").read_text()
