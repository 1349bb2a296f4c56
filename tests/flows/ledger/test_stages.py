"""One stage key is computed once and waited for, whatever kind of run has it and whatever kind waits."""

import subprocess
import sys
from collections.abc import Callable
from contextlib import chdir
from functools import partial
from pathlib import Path

import pytest
from dvc.repo import Repo

from flows.git.worktrees import worktree
from flows.ledger.results import Result
from flows.ledger.running import IsolatedRun
from flows.ledger.sharing import share_cache
from flows.ledger.stages import Ledger
from tests.support.project import ROOT, environment
from tests.support.small import make, pipeline
from tests.support.wait import PATIENCE

IN_PLACE = """
import sys
from pathlib import Path
from flows.ledger.stages import Ledger
from tests.support.small import made
home = Path.cwd()
print(made(home, Ledger(home, say=lambda line: print(line, flush=True))))
"""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout with a stage that makes a folder and a metric, committed before it has run."""
    for name, value in environment(tmp_path).items():
        monkeypatch.setenv(name, value)
    return pipeline(tmp_path / "home")


def in_place(home: Path) -> "subprocess.Popen[str]":
    """Start a run in the checkout; return once it says that it waits for the stage."""
    running = subprocess.Popen(
        [sys.executable, "-c", IN_PLACE],
        cwd=home,
        env=environment(home) | {"PYTHONPATH": str(ROOT)},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    assert running.stdout is not None
    assert "is computing the same; waiting for it" in running.stdout.readline()
    return running


def beside_an_isolated_run(home: Path, meanwhile: Callable[[], object] = lambda: None) -> str:
    """Have an isolated run make the stage for which a run in the checkout waits; return what that says then."""
    waiting = []
    with worktree(home, "run", "HEAD") as folder:
        share_cache(home, folder)
        run = IsolatedRun(home, folder, "run")

        def compute() -> None:
            make(folder)
            waiting.append(in_place(home))
            meanwhile()
            # recording needs this lock: DVC gives up after three seconds, a run waits for ever
            with Repo(str(home)) as repo, repo.lock:
                pass

        with run.marked(), chdir(folder):
            ledger = Ledger(folder, sparse=True, isolated_run=run)
            assert ledger.run_or_restore("make", compute) == Result.ran
    said, _ = waiting[0].communicate(timeout=PATIENCE)
    return str(said)


@pytest.mark.slow
def test_a_run_in_the_checkout_restores_what_an_isolated_one_made_while_it_waited(home: Path) -> None:
    assert beside_an_isolated_run(home).splitlines()[-1] == Result.restored
    assert (home / "made/a").read_text() == "first\n"


def test_an_input_that_changes_while_its_stage_is_waited_for_is_noticed(home: Path) -> None:
    said = beside_an_isolated_run(home, partial((home / "source.txt").write_text, "second\n"))
    assert "make: its input source.txt changed meanwhile; run the same command again" in said
    assert not (home / "made").exists()
    assert not (home / "dvc.lock").exists()
