"""A clone in which nothing has run, and beside it data of a user."""

from pathlib import Path

import pytest

from flows.engine.data import with_data
from tasks.shared.params import Params
from tasks.shared.params_file import PARAMS, load
from tests.support.project import clone, environment

ROWS = "text,label\nwhere is my parcel,order\n"


def make_checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a clone in which nothing has run, and beside it a folder `me` whose user has much that is nobody's business."""
    for name, value in environment(tmp_path).items():
        monkeypatch.setenv(name, value)
    project = clone(tmp_path / "checkout")
    home = tmp_path / "me"
    for name in (
        "diary.csv",
        "exports/2025-01.csv",
        "exports/2026-01.csv",
        "exports/2026-02.csv",
        "exports/.2026-key.csv",
    ):
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (home / name).write_text(ROWS + name)
    monkeypatch.chdir(project.root)
    return project.root


def wanted(path: str) -> Params:
    """Return the params of the current checkout with its data at a path."""
    return with_data(load(Path(PARAMS)), path=path)
