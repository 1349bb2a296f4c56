"""Records of the run-cache, which others may add, damage and remove at any moment."""

import shutil
from contextlib import chdir
from pathlib import Path

import pytest

from flows.ledger.run_cache import newest, records
from flows.ledger.stages import Ledger
from tests.support.project import Once
from tests.support.two_stages import start


def test_a_record_that_is_removed_while_the_newest_is_looked_for_is_passed_over(
    tmp_path: Path, once: Once, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DVC_SITE_CACHE_DIR", str(tmp_path / "site"))
    root = Path(shutil.copytree(once("small", start), tmp_path / "small"))
    with chdir(root):
        ledger = Ledger(root)
        stage = ledger.stages["train"]
        entry = newest(ledger.repo, stage)
        assert entry is not None
        for record in records(ledger.repo):
            # it is listed, and then not there
            (record.parent / "0123456789abcdef").symlink_to("gone")
        assert newest(ledger.repo, stage) == entry
