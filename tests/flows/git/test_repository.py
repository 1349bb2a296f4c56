"""Refs, notes and worktrees that all runs of a repository share: none is lost by many at once, and no kill blocks the next."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from flows.git import refs
from flows.git.commands import git
from flows.git.refs import commit_at, remove_ref, set_ref
from flows.git.uncommitted import uncommitted
from flows.git.worktrees import remove_dead, worktree
from flows.ledger.experiments import experiments, save
from flows.report.certificate import Certificate
from tasks.shared.errors import InputError
from tasks.shared.locks import alone
from tests.support.children import child
from tests.support.project import ROOT
from tests.support.repository import a_run, one_commit

MANY = 50
STRACE = shutil.which("strace")
# what Git does to refs, notes and worktrees is done by these
CHANGES = "openat,rename,link,unlink,mkdir,rmdir,write"


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A Git repository with one commit."""
    return one_commit(tmp_path, monkeypatch)


def at_once(work: Callable[..., object], checkout: Path, count: int = MANY) -> None:
    """Do some work in many processes at once, each with a number of its own."""
    processes = [child(work, checkout, number) for number in range(count)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * count


def certificates(checkout: Path, commit: str = "HEAD") -> set[str]:
    """Return the revisions of the certificates in a commit's notes."""
    text = git(checkout, "notes", "--ref=retrain", "show", commit)
    found = []
    while text:
        certificate, end = json.JSONDecoder().raw_decode(text)
        found.append(certificate["revision"])
        text = text[end:].strip()
    return set(found)


def is_clean(checkout: Path) -> bool:
    left = list((checkout / ".git").rglob("*.lock"))
    known = git(checkout, "worktree", "list").splitlines()
    git(checkout, "fsck", "--strict")
    return len(known) == 1 and [lock.name for lock in left] == ["retrain.lock"]


@pytest.mark.slow
def test_of_fifty_runs_at_once_every_experiment_and_certificate_is_kept_and_no_worktree(
    checkout: Path,
) -> None:
    at_once(a_run, checkout)
    assert len({experiment.name for experiment in experiments(checkout)}) == MANY
    assert certificates(checkout) == {f"run-{number}" for number in range(MANY)}
    assert is_clean(checkout)


def test_of_equal_runs_that_end_at_once_one_is_kept(checkout: Path) -> None:
    def equal(checkout: Path, number: int) -> None:
        with worktree(checkout, f"run-{number}", "HEAD") as folder:
            (folder / "dvc.lock").write_text("stages: {ingest: {}}\n")
            save(folder, f"run-{number}", "a run")

    at_once(equal, checkout, 8)
    assert len(experiments(checkout)) == 1


def test_a_certificate_is_kept_beside_notes_that_somebody_writes_without_our_lock(checkout: Path) -> None:
    def by_hand(checkout: Path, number: int) -> None:
        if number:
            Certificate(f"run-{number}", git(checkout, "rev-parse", "HEAD")).keep(checkout)
            return
        for commit in range(20):
            tree = git(checkout, "write-tree")
            other = git(checkout, "commit-tree", tree, "-m", f"{commit}")
            subprocess.run(
                ["git", "notes", "--ref=retrain", "add", "-m", "mine", other],
                cwd=checkout,
                check=False,
                capture_output=True,
            )

    at_once(by_hand, checkout, 10)
    assert certificates(checkout) == {f"run-{number}" for number in range(1, 10)}


@pytest.mark.parametrize("moment", ["before prune", "half made", "made", "removed in part"])
def test_a_name_can_be_used_again_wherever_a_run_of_that_name_died(checkout: Path, moment: str) -> None:
    folder = checkout / ".retrain/worktrees/run"
    folder.parent.mkdir(parents=True)
    folder.with_name("run.lock").touch()
    git(checkout, "worktree", "add", "--detach", str(folder), "HEAD")
    known = checkout / ".git/worktrees/run"
    if moment == "before prune":
        shutil.rmtree(folder)
    elif moment == "half made":
        (known / "locked").write_text("initializing\n")
        shutil.rmtree(folder)
    elif moment == "removed in part":
        (folder / ".git").unlink()
    with worktree(checkout, "run", "HEAD") as again:
        assert (again / "dvc.lock").exists()
    assert is_clean(checkout)


def test_a_worktree_that_git_had_begun_to_make_when_it_was_killed_is_forgotten(checkout: Path) -> None:
    half = checkout / ".git/worktrees/run"
    half.mkdir(parents=True)
    (half / "locked").write_text("initializing\n")
    folder = checkout / ".retrain/worktrees/run"
    folder.parent.mkdir(parents=True)
    folder.mkdir()
    folder.with_name("run.lock").touch()
    remove_dead(checkout, lambda _: None)
    assert not half.exists()
    assert not list(folder.parent.iterdir())


def test_a_worktree_that_a_user_has_locked_is_left(checkout: Path, tmp_path: Path) -> None:
    git(
        checkout,
        "worktree",
        "add",
        "--detach",
        "--lock",
        "--reason",
        "initializing",
        str(tmp_path / "mine"),
        "HEAD",
    )
    with worktree(checkout, "run", "HEAD"):
        pass
    assert len(git(checkout, "worktree", "list").splitlines()) == 2


def test_a_worktree_of_a_user_on_a_disk_that_is_not_mounted_is_left(checkout: Path, tmp_path: Path) -> None:
    mine = tmp_path / "disk/mine"
    git(checkout, "worktree", "add", "-b", "mine", str(mine), "HEAD")
    (mine / "staged").write_text("by me\n")
    git(mine, "add", "staged")
    mine.parent.rename(tmp_path / "unmounted")
    with worktree(checkout, "run", "HEAD"):
        pass
    remove_dead(checkout, lambda _: None)
    (tmp_path / "unmounted").rename(mine.parent)
    assert git(mine, "status", "--porcelain") == "A  staged"
    assert len(git(checkout, "worktree", "list").splitlines()) == 2


def test_a_run_that_starts_again_under_the_name_of_a_dead_one_keeps_its_worktree(checkout: Path) -> None:
    lock = checkout / ".retrain/worktrees/run.lock"
    with alone(lock):
        (checkout / ".retrain/worktrees/run").mkdir()
        remove_dead(checkout, pytest.fail)
        assert lock.with_suffix("").exists()
    remove_dead(checkout, lambda _: None)
    assert not lock.exists()


@pytest.mark.parametrize(
    "name", ["packed-refs.lock", "refs/notes/retrain.lock", "refs/notes/retrain-aside.lock"]
)
def test_a_lock_of_git_that_a_kill_has_left_is_outwaited(
    checkout: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(refs, "STALE", 0.5)
    git(checkout, "pack-refs", "--all")
    lock = checkout / ".git" / name
    lock.parent.mkdir(parents=True, exist_ok=True)
    lock.touch()
    # set back or forward, no clock is asked
    os.utime(lock, (4e9, 4e9))
    a_run(checkout, 1)
    a_run(checkout, 2)
    assert certificates(checkout) == {"run-1", "run-2"}
    assert is_clean(checkout)


def test_a_lock_that_is_not_of_a_ref_is_left_and_named(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(refs, "STALE", 0.2)
    lock = checkout / ".git/index.lock"
    lock.touch()
    with pytest.raises(InputError, match=r"index\.lock is held by another Git, or was left by one that died"):
        refs.change(checkout, "add", "-A")
    assert lock.exists()


def test_a_ref_is_moved_only_from_where_it_was_seen(checkout: Path) -> None:
    first = git(checkout, "rev-parse", "HEAD")
    second = git(checkout, "commit-tree", git(checkout, "write-tree"), "-m", "other")
    assert set_ref(checkout, "refs/retrain/x", first, None)
    assert not set_ref(checkout, "refs/retrain/x", second, None)
    assert not set_ref(checkout, "refs/retrain/x", second, second)
    remove_ref(checkout, "refs/retrain/x", second)
    assert commit_at(checkout, "refs/retrain/x") == first
    remove_ref(checkout, "refs/retrain/x", first)
    remove_ref(checkout, "refs/retrain/x", first)
    assert commit_at(checkout, "refs/retrain/x") is None


def test_what_a_kill_has_left_of_a_snapshot_is_in_nobodys_way(checkout: Path) -> None:
    (checkout / ".retrain").mkdir()
    for name in ("index", "index.lock"):
        (checkout / ".retrain" / name).write_text("torn")
    (checkout / "new.txt").write_text("new\n")
    assert uncommitted(checkout, lambda _: None).untracked == ("new.txt",)
    assert not (checkout / ".retrain/index").exists()


SCRIPT = """
import sys
from pathlib import Path
from tests.support.repository import a_run
a_run(Path.cwd(), int(sys.argv[1]))
"""


@pytest.mark.skipif(STRACE is None, reason="strace is not installed; it kills at a system call")
@pytest.mark.parametrize(
    "when", [3, 14, *(pytest.param(when, marks=pytest.mark.slow) for when in (9, 20, 27, 40))]
)
def test_a_kill_at_a_system_call_of_git_leaves_nothing_that_blocks(
    checkout: Path, when: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = [sys.executable, "-c", SCRIPT, "1"]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    killed = ["-P", str(checkout / ".git"), "-e", f"inject={CHANGES}:signal=KILL:when={when}"]
    subprocess.run(
        [str(STRACE), "-f", "-o", "/dev/null", *killed, *command],
        cwd=checkout,
        env=env,
        check=False,
        capture_output=True,
    )
    monkeypatch.setattr(refs, "STALE", 0.2)
    remove_dead(checkout, lambda _: None)
    a_run(checkout, 2)
    a_run(checkout, 1)
    assert certificates(checkout) == {"run-1", "run-2"}
    assert len(experiments(checkout)) == 2
    assert is_clean(checkout)
