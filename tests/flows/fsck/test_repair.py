"""What `retrain check --repair` says of the places where a copy may be."""

import shutil
from pathlib import Path

import pytest

from flows.fsck.examination import Examination
from flows.fsck.repair import Repair
from tests.support.project import Once
from tests.support.two_stages import start

SETTINGS = """
['remote "team"']
    url = azure://box/retrain
    account_key = 7hgF/made+up==
"""


class Store:
    """A store that cannot be read, and tells how it was asked."""

    def open(self, path: str, mode: str) -> None:
        raise ConnectionError(
            f"AccountKey=7hgF/made+up== https://box.example.org/{path}?sv=2&sig=Zm9v ({mode})"
        )


def test_a_store_that_cannot_be_read_is_named_without_its_secrets(
    tmp_path: Path, once: Once, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DVC_SITE_CACHE_DIR", str(tmp_path / "site"))
    root = Path(shutil.copytree(once("small", start), tmp_path / "small"))
    with (root / ".dvc/config.local").open("a") as config:
        config.write(SETTINGS)
    said: list[str] = []
    examination = Examination(root, None)
    repair = Repair(examination, said.append, said.append)
    item = next(iter(examination.objects.values()))
    assert not repair._fetch(item, Store(), "runs", "the remote team")
    told = "AccountKey=*** https://box.example.org/runs?sv=2&sig=*** (rb)"
    assert said == [f"the remote team could not be read: {told}"]
