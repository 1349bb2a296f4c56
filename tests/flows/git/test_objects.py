"""Many objects of Git at once: in order, whole, and none for one that is not there."""

import subprocess
from pathlib import Path

import pytest

from flows.git.commands import git
from flows.git.objects import FOLDER, SUBMODULE, contents, entries

FILES = {
    "a b.dvc": b"\n\n",
    "empty": b"",
    "bytes": bytes(range(256)) * 3 + b" \n",
    "deep/dvc.lock": b"stages: {}\n",
}


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository of one commit."""
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    for name, content in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    git(tmp_path, "add", ".")
    git(tmp_path, "-c", "user.name=x", "-c", "user.email=x@example.org", "commit", "-qm", "files")
    return tmp_path


@pytest.mark.parametrize("at_once", [1, 2, 500])
def test_contents_come_in_order_as_they_are_whatever_is_in_them(repository: Path, at_once: int) -> None:
    asked = [*(f"HEAD:{name}" for name in FILES), "HEAD:none", "0" * 40, "HEAD:empty"]
    assert list(contents(repository, asked, at_once)) == [*FILES.values(), None, None, b""]


def test_a_tree_is_read_as_git_lists_it(repository: Path) -> None:
    head = git(repository, "rev-parse", "HEAD")
    git(repository, "update-index", "--add", "--cacheinfo", f"160000,{head},module.dvc")
    tree = git(repository, "write-tree")
    (content,) = contents(repository, [tree])
    assert content is not None
    found = {name.decode(): (mode, its) for mode, name, its in entries(content, len(tree) // 2)}
    listed = [line.split(None, 3) for line in git(repository, "ls-tree", tree).splitlines()]
    assert {name: its for name, (_, its) in found.items()} == {name: its for _, _, its, name in listed}
    assert found["deep"][0] == FOLDER
    assert found["module.dvc"][0] == SUBMODULE
