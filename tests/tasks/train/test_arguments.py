"""What the Trainer is given: params alone decide it, and what it does not take is said before a model is loaded."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from tasks.shared.files import digests, read_json
from tests.support.way import Way, way


@pytest.fixture(scope="module")
def tokens(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Path:
    """A folder in which tokenize has run."""
    made = way(tmp_path_factory.mktemp("tokens") / "way", tiny_model)
    made.tokenize()
    return made.folder


def copy(tokens: Path, folder: Path, base: Path, **changes: Any) -> Way:
    return Way(shutil.copytree(tokens, folder), base, {"train": {"max_steps": 1, **changes}})


def test_a_training_in_fp32_is_one_whatever_accelerate_is_told_by_the_environment(
    tmp_path: Path, tokens: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = []
    for told in ("no", "bf16"):
        monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", told)
        made = copy(tokens, tmp_path / told, tiny_model, precision="fp32")
        made.train()
        assert read_json(made.paths.metric("train"))["precision"] == "fp32"
        found.append(digests(made.paths.checkpoint))
    assert found[0] == found[1]
