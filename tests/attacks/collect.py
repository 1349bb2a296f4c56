"""Isolated runs while garbage is collected over and over: every run that ends well has its model, in the cache and in Git."""

import io
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import chdir, contextmanager, redirect_stdout, suppress
from pathlib import Path
from random import Random

import yaml
from dvc.lock import LockError
from dvc.repo import Repo

from flows.cli.gc import gc
from flows.git.commands import git
from flows.git.worktrees import worktree
from flows.ledger.experiments import experiments, save
from flows.ledger.running import IsolatedRun
from flows.ledger.sharing import share_cache
from flows.ledger.stages import Ledger
from tests.attacks import Attempt
from tests.support.children import child
from tests.support.project import environment
from tests.support.small import made, objects, pipeline

TOGETHER = 6
LONG, SHORT = 10 * TOGETHER, TOGETHER


def run(home: Path, number: int) -> None:
    """Work as an isolated run does, with moments between its steps in which garbage is collected."""
    chance = Random(number)  # noqa: S311 (the same attempt again, no secret)
    name = f"run-{number}"
    with worktree(home, name, "HEAD") as folder, chdir(folder), IsolatedRun(home, folder, name).marked():
        share_cache(home, folder)
        for step in range(3):
            (folder / "source.txt").write_text(f"step {step} of {number}\n")
            ledger = Ledger(folder, sparse=True, isolated_run=IsolatedRun(home, folder, name))
            made(folder, ledger)
            # as of a stage that nothing in this run needs any more
            shutil.rmtree(folder / "made")
            time.sleep(chance.uniform(0, 0.5))
        ledger.refuse_lost()
        save(folder, name, "a run")


def collecting(home: Path) -> None:
    """Collect garbage until killed, as `dvc gc -w -a -T -A` and `retrain gc` do, in turn."""
    with chdir(home), redirect_stdout(io.StringIO()):
        while True:
            # while a run puts something into the cache, DVC gives up
            with suppress(LockError), Repo() as repo:
                repo.gc(workspace=True, all_branches=True, all_tags=True, all_experiments=True, force=True)
            gc(yes=True)


@contextmanager
def garbage_collected(home: Path) -> Iterator[Callable[[], bool]]:
    """Have garbage collected over and over; yield what tells whether it still is, and not ended by an error."""
    collector = child(collecting, home)
    collector.start()
    try:
        yield collector.is_alive
    finally:
        collector.kill()
        collector.join()


def missing(home: Path, commit: str) -> set[str]:
    """Return what an experiment's dvc.lock names of outputs, and the listings in it, that neither Git nor the cache holds."""
    in_git = git(home, "ls-tree", "-r", "--name-only", commit).splitlines()
    named = set()
    for stage in yaml.safe_load(git(home, "show", f"{commit}:dvc.lock"))["stages"].values():
        named |= {output["md5"] for output in stage["outs"] if output["path"] not in in_git}
    for name in list(named):
        listing = home / ".dvc/cache/files/md5" / name[:2] / name[2:]
        if name.endswith(".dir") and listing.exists():
            named |= {entry["md5"] for entry in yaml.safe_load(listing.read_text())}
    return named - objects(home)


def fault(home: Path, name: str, status: int | None, *, is_collecting: bool) -> str | None:
    """Return what is wrong with a run that has ended beside the garbage collection."""
    kept = {experiment.name: experiment.commit for experiment in experiments(home)}
    if status != 0 or name not in kept:
        return f"ended with {status}"
    if lost := missing(home, kept[name]):
        return f"completed, and {len(lost)} of its objects are gone"
    return None if is_collecting else "the garbage collection has ended with an error"


def attempts(seed: int, count: int, scratch: Path) -> Iterator[Attempt]:
    """Yield isolated runs, six at once beside a garbage collection that never ends."""
    os.environ.update(environment(scratch))
    home = pipeline(scratch / "home")
    for first in range(seed, seed + count, TOGETHER):
        with garbage_collected(home) as is_collecting:
            runs = {number: child(run, home, number) for number in range(first, first + TOGETHER)}
            for process in runs.values():
                process.start()
            for process in runs.values():
                process.join()
            collects = is_collecting()
        for number, process in runs.items():
            wrong = fault(home, f"run-{number}", process.exitcode, is_collecting=collects)
            yield Attempt(f"seed {number}", wrong)
