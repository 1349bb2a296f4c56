"""What it costs that inputs and cache objects are verified: `retrain run` beside itself at the commit before.

Two clones, each with the versions that it pins installed, and with a folder of raw files under DVC: the
tickets, and beside them 1 MB or 2 GB that DVC hashes and no stage reads. Wall time of whole processes, in
turn: all cached, and with ingest stale (package follows it, as it names all params). Nothing is restored.
"""

import itertools
import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from benchmarks.clones import clone_at, fresh_clone, seconds
from benchmarks.measure import ROOT, Options, Table, compare, in_turn
from flows.git.commands import git
from tests.support.project import Project

REPEAT = 5
# bytes
SIZES = {"1 MB": 10**6, "2 GB": 2 * 10**9}
OURS, BEFORE = "verified", "the commit before"
TARGET = "<= 1.05"
# as it was called when it came
MODULE = "flows/ledger/verified.py"
QUICK = ("--train.max-steps", "2", "--evaluate.n-resamples", "100")


def measure(options: Options) -> list[Table]:
    """Return a table for each size, all cached and with a stale stage."""
    tables = []
    # of a text's length: all are long enough, and each makes ingest stale
    limits = itertools.count(10_001)
    with fresh_clone() as ours, clone_at(f"{_added(MODULE)}^") as before:
        for size, count in SIZES.items():
            for project in (ours, before):
                _start(project, count)
            tables += _tables(size, {OURS: ours, BEFORE: before}, limits, options.repeat or REPEAT)
    return tables


def _tables(size: str, projects: dict[str, Project], limits: Iterator[int], repeat: int) -> list[Table]:
    def stale(project: Project) -> float:
        return seconds(project, "flows", "run", "--ingest.max-chars", str(next(limits)))

    runs = {name: partial(seconds, project, "flows", "run") for name, project in projects.items()}
    cached = in_turn(runs, repeat)
    ran = in_turn({name: partial(stale, project) for name, project in projects.items()}, repeat)
    found = {"All cached": cached, "One stale stage": ran}
    return [
        compare(f"{title}, {size} of raw files", "s", times, OURS, {BEFORE: TARGET})
        for title, times in found.items()
    ]


def _start(project: Project, count: int) -> None:
    """Put the raw files under DVC and compute all stages from them once."""
    raw = project.root / "data/raw/many"
    raw.mkdir(exist_ok=True)
    shutil.copyfile(project.root / "data/raw/tickets.csv", raw / "tickets.csv")
    block = bytes(range(256)) * 4000
    with (raw / "ballast.bin").open("wb") as file:
        while file.tell() < count:
            file.write(block[: count - file.tell()])
    seconds(project, "dvc", "add", "-q", str(raw))
    seconds(project, "flows", "run", "--data.path", "data/raw/many", "--data.files", "*.csv", *QUICK)


def _added(module: str) -> str:
    """Return the commit that brought a module in."""
    return git(Path(ROOT), "log", "--diff-filter=A", "--format=%H", "-1", "--", module)
