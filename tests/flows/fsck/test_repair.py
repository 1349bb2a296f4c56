"""What `retrain check --repair` says of the places where a copy may be."""

import shutil
from pathlib import Path

import pytest

from flows.fsck.examination import Examination
from flows.fsck.repair import Repair
from flows.registry.tags import Record
from tests.support.project import Once, environment
from tests.support.registry import a_run, packaging, won
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


def test_the_champion_is_kept_where_the_stages_of_a_repair_find_it_or_that_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment(tmp_path).items():
        monkeypatch.setenv(name, value)
    checkout = packaging(tmp_path / "checkout")
    digest = f"sha256:{'0' * 64}"
    with (checkout / "params.yaml").open("a") as params:
        params.write(f"promote:\n  champion: {digest}\n")
    tag = won(checkout, a_run(checkout, "run"), None, record=Record(package=digest)).assignment.tag
    monkeypatch.chdir(checkout)
    said: list[str] = []
    with Repair(Examination(checkout, None), said.append, said.append)._worktree() as folder:
        assert (folder / "dvc.yaml").exists()
    # its package was never made
    missing = f"'{tag}' has no models/package in its dvc.lock; name a revision whose run ended"
    assert said == [f"warning: promote.champion: {missing}"]
