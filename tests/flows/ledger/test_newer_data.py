"""A commit of others cannot have a file read that params.yaml does not name."""

import json
from pathlib import Path

import pytest

from flows.ledger.history import Record
from flows.ledger.newer_data import freshness
from tests.support.project import environment
from tests.support.registry import packaging


def recorded(path: str) -> Record:
    """Return the record of a run that says that it has read this path."""
    ingest = {
        "cmd": "python -m tasks.ingest",
        "deps": [{"path": path, "hash": "md5", "md5": "0" * 32, "size": 1}],
        "params": {"params.yaml": {"problem": "text_classification", "data": {"path": path}}},
    }
    lock = json.dumps({"schema": "2.0", "stages": {"ingest": ingest}})
    return Record("theirs", None, lambda name: lock if name == "dvc.lock" else None)


@pytest.mark.parametrize("path", ["/dev/zero", "/etc/passwd", "../outside"])
def test_a_path_that_params_do_not_name_is_not_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    for name, value in environment(tmp_path).items():
        monkeypatch.setenv(name, value)
    checkout = packaging(tmp_path / "home")
    (tmp_path / "outside").write_text("secret\n")
    found = freshness(checkout, recorded(path))
    assert found.is_newer is None
    assert found.sentence == f"{path} cannot be looked at: params.yaml names other data now"


def test_data_that_params_name_is_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in environment(tmp_path).items():
        monkeypatch.setenv(name, value)
    checkout = packaging(tmp_path / "home")
    with (checkout / "params.yaml").open("a") as file:
        file.write("data:\n  path: source.txt\n")
    found = freshness(checkout, recorded("source.txt"))
    assert found.is_newer
    assert found.sentence == "source.txt has changed since it was trained on: 1 byte then, 6 bytes now"
