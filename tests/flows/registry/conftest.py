"""Repositories that share what they keep, or do not."""

from pathlib import Path

import pytest

from tests.support.project import environment
from tests.support.registry import repository, shared


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository that shares nothing."""
    for name, value in environment(tmp_path).items():
        monkeypatch.setenv(name, value)
    return repository(tmp_path / "checkout")


@pytest.fixture
def clones(checkout: Path, tmp_path: Path) -> tuple[Path, Path]:
    """Two repositories that share what they keep over a third, which is bare."""
    remote = tmp_path / "origin.git"
    other = repository(tmp_path / "other")
    return shared(checkout, remote), shared(other, remote)
