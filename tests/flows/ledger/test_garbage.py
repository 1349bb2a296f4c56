"""Garbage collection beside runs: what a run has made is named from its first commit on, and nothing that is kept is freed."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import chdir, contextmanager
from pathlib import Path

import pytest
from dvc.config import Config
from dvc.lock import LockError
from dvc.repo import Repo

from flows.cli.gc import gc as command
from flows.git.commands import git
from flows.git.worktrees import remove_dead, worktree
from flows.ledger.experiments import experiments, save
from flows.ledger.garbage import collect
from flows.ledger.journal import Journal
from flows.ledger.results import Result
from flows.ledger.running import IsolatedRun, without_gc
from flows.ledger.sharing import share_cache
from flows.ledger.stages import Ledger
from tasks.shared.errors import InputError
from tests.support.project import ROOT, environment
from tests.support.small import made, objects, pipeline


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout with a stage that makes a folder and a metric, committed before it has run."""
    for name, value in environment(tmp_path).items():
        monkeypatch.setenv(name, value)
    return pipeline(tmp_path / "home")


@contextmanager
def under_way(home: Path, source: str, name: str = "run") -> Iterator[tuple[Path, Ledger]]:
    """Yield the worktree and ledger of an isolated run that has just begun."""
    with worktree(home, name, "HEAD") as folder:
        share_cache(home, folder)
        (folder / "source.txt").write_text(source)
        run = IsolatedRun(home, folder, name)
        with run.marked():
            with chdir(folder):
                ledger = Ledger(folder, sparse=True, isolated_run=run)
            yield folder, ledger


def as_documented_before(home: Path) -> None:
    """Do what docs/history.md told to do."""
    with Repo(str(home)) as repo:
        repo.gc(workspace=True, all_branches=True, all_tags=True, all_experiments=True, force=True)


def empty(home: Path) -> None:
    for path in (home / ".dvc/cache/files/md5").glob("*/*"):
        path.unlink()


def test_what_a_run_under_way_has_made_outlives_dvc_gc_and_is_no_experiment_yet(home: Path) -> None:
    with under_way(home, "mine\n") as (folder, ledger):
        assert made(folder, ledger) == Result.ran
        shutil.rmtree(folder / "made")
        as_documented_before(home)
        ledger.refuse_lost()
        ledger.checkout_missing(["made"])
        assert (folder / "made/a").read_text() == "mine\n"
        assert experiments(home) == []
        saved = save(folder, "run", "a run")
    assert [experiment.commit for experiment in experiments(home)] == [saved.commit]
    assert "running" not in git(home, "for-each-ref")
    as_documented_before(home)
    assert len(objects(home)) == 3


def test_worktrees_that_come_and_go_meanwhile_stop_no_garbage_collection(home: Path) -> None:
    made(home)
    kept = objects(home)
    for name in ("coming", "gone"):
        git(home, "worktree", "add", "--detach", str(home.parent / name), "HEAD")
    # as Git leaves it while it adds one
    (home / ".git/worktrees/coming/HEAD").write_text(f"{'0' * 40}\n")
    shutil.rmtree(home.parent / "gone")
    collect(home, dry_run=False)
    assert objects(home) == kept


def test_what_was_never_copied_to_its_end_is_freed_once_no_isolated_run_may_be_at_it(home: Path) -> None:
    made(home)
    kept = objects(home)
    part = home / ".dvc/cache/files/md5/00/.kg1Y2hQ.tmp"
    part.parent.mkdir(exist_ok=True)
    part.write_text("half of a mod")
    with under_way(home, "mine\n"):
        collect(home, dry_run=False)
        assert part.exists()
    assert collect(home, dry_run=False).objects == (part,)
    assert objects(home) == kept


def test_garbage_is_not_collected_while_a_run_puts_into_the_cache_what_no_ref_names_yet(home: Path) -> None:
    with without_gc(home), pytest.raises(LockError):
        as_documented_before(home)


def test_what_has_gone_from_the_cache_is_put_in_again_or_the_run_says_so(home: Path) -> None:
    with under_way(home, "mine\n") as (folder, ledger):
        made(folder, ledger)
        before = objects(home)
        empty(home)
        ledger.refuse_lost()
        assert before > objects(home) > set()
        empty(home)
        shutil.rmtree(folder / "made")
        with pytest.raises(InputError, match=r"^made: gone from the DVC cache .*run the same command again"):
            ledger.refuse_lost()


def test_the_ref_of_a_run_that_died_goes_with_its_worktree(home: Path) -> None:
    with under_way(home, "mine\n") as (folder, ledger):
        made(folder, ledger)
        commit = git(home, "for-each-ref", "--format=%(objectname)", "refs/exps")
    for name in ("dead", "gone"):
        git(home, "update-ref", f"refs/exps/{commit[:2]}/{commit[2:]}/{name}.running", commit)
    lock = home / ".retrain/worktrees/dead.lock"
    lock.touch()
    remove_dead(home, lambda _: None)
    assert git(home, "for-each-ref", "refs/exps") == ""
    assert not lock.exists()


def results(home: Path) -> dict[str, set[str]]:
    """Compute the stage for six sources, each kept in another way, or not at all; return the objects of each."""
    found: dict[str, set[str]] = {}
    for name in ("a branch", "a tag", "an experiment", "a stash", "nobody", "the checkout"):
        before = objects(home)
        (home / "source.txt").write_text(f"{name}\n")
        made(home)
        found[name] = objects(home) - before
        if name in ("the checkout", "nobody"):
            continue
        git(home, "add", "-A")
        if name == "an experiment":
            save(home, "kept", "a run")
            git(home, "reset", "-q", "--hard")
        elif name == "a stash":
            git(home, "stash", "-q")
        else:
            git(home, "commit", "-qm", name)
            git(home, *(("branch", "kept") if name == "a branch" else ("tag", "kept")))
            git(home, "reset", "-q", "--hard", "HEAD~")
    return found


def test_what_anything_keeps_stays_and_the_rest_is_freed_with_the_records_that_would_restore_it(
    home: Path,
) -> None:
    made_by = results(home)
    with under_way(home, "one that is under way\n") as (folder, ledger):
        before = objects(home)
        made(folder, ledger)
        made_by["a run"] = objects(home) - before
        assert all(len(names) == 4 for names in made_by.values())
        shown = collect(home, dry_run=True)
        assert {path.parent.name + path.name for path in shown.objects} == made_by["nobody"]
        assert len(shown.records) == 1
        assert objects(home) >= made_by["nobody"]
        assert collect(home, dry_run=False) == shown
    assert objects(home) == set().union(*made_by.values()) - made_by["nobody"]
    for name, outcome in (("a branch", Result.restored), ("nobody", Result.ran)):
        (home / "source.txt").write_text(f"{name}\n")
        assert made(home) == outcome


def test_what_a_run_in_the_checkout_would_put_back_is_kept(home: Path) -> None:
    made(home)
    before = objects(home)
    Journal.begin(home)
    (home / "dvc.lock").write_text("schema: '2.0'\nstages: {}\n")
    shutil.rmtree(home / "made")
    collect(home, dry_run=False)
    assert objects(home) == before


def test_a_cache_that_others_may_use_is_left_alone(home: Path, tmp_path: Path) -> None:
    with Config(str(home / ".dvc")).edit("local") as config:
        config["cache"] = {"dir": str(tmp_path / "shared")}
    (tmp_path / "shared").mkdir()
    with pytest.raises(InputError, match=r"outside this checkout.*dvc gc --workspace"):
        collect(home, dry_run=True)


@pytest.mark.slow
def test_the_command_shows_what_would_go_and_frees_nothing_unasked(home: Path) -> None:
    results(home)
    before = objects(home)

    def gc(*words: str) -> subprocess.CompletedProcess[str]:
        env = {**os.environ, "PYTHONPATH": str(ROOT)}
        return subprocess.run(
            [sys.executable, "-m", "flows", "gc", *words],
            cwd=home,
            env=env,
            text=True,
            capture_output=True,
            check=False,
            stdin=subprocess.DEVNULL,
        )

    assert gc("--dry-run").stdout.startswith("would free 4 objects (0.0 MB) and 1 records of the run-cache")
    refused = gc()
    assert refused.returncode == 2
    assert "`retrain gc --yes` frees it" in refused.stderr
    assert objects(home) == before
    assert gc("--yes").stdout.startswith("freed 4 objects")
    assert gc("--dry-run").stdout == "nothing to free\n"
    assert len(objects(home)) == len(before) - 4


def test_the_end_of_input_is_no_answer(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    results(home)
    before = objects(home)
    monkeypatch.chdir(home)
    keyboard, terminal = os.openpty()
    # Ctrl-D
    os.write(keyboard, b"\x04")
    with os.fdopen(terminal) as typed:
        monkeypatch.setattr("sys.stdin", typed)
        assert command() == 0
    os.close(keyboard)
    assert objects(home) == before
