"""One table of scaling: workers 1 and 2 for tokenize, train and a sweep; what each engine costs per stage.

A row runs the real command in a fresh clone and takes the seconds that the stage itself has noted (the
sweep: those that benchmarks/sweeps.py measures). A part that is not installed, or not in this version, is
skipped, and the table says so. A worker of tokenize is a thread of tokenizers, one of train a process of
torchrun with a thread of its own, one of a sweep a worker of the pool. Ray has a cluster of this machine: a
head and two nodes of a processor each; local has two processes too. Both must make the same package.
"""

import importlib.util
import os
from collections.abc import Callable, Iterator

import polars as pl

from benchmarks import sweeps
from benchmarks.clones import fresh_clone
from benchmarks.measure import Options, Table
from flows.engine.workspace import STAGES
from flows.report.costs import taken
from tasks.shared.files import digests
from tests.support.project import Project
from tests.support.ray_cluster import cluster

WORKERS = (1, 2)
# seconds by what was measured: "1" and "2" workers, or "local" and "ray"
Seconds = dict[str, float]
# either what was seen, or why nothing was
Seen = Seconds | str


def measure(options: Options) -> list[Table]:
    """Return one table."""
    table = Table("Scaling", ("what", "beside", "seconds", "seconds", "ratio"))
    for name, seen in rows(options):
        if isinstance(seen, str):
            table.rows.append([name, "skipped", "", "", ""])
            table.notes.append(f"{name}: skipped, {seen}")
            continue
        (one, first), (other, second) = seen.items()
        ratio = first / second if second else 0.0
        table.rows.append([name, f"{one}, {other}", f"{first:.1f}", f"{second:.1f}", f"{ratio:.2f}"])
    cores, load = len(os.sched_getaffinity(0)), os.getloadavg()[0]
    table.notes.append(
        f"ratio: the first's seconds over the second's; {cores} cores, load {load:.1f} at the end"
    )
    return [table]


def rows(options: Options) -> Iterator[tuple[str, Seen]]:
    """Yield what each row is called, and what was seen."""
    parts: dict[str, Callable[[Options], Seen]] = {"tokenize": tokenize, "train": train, "sweep": sweep}
    for name, part in parts.items():
        yield f"{name}, workers", part(options)
    seen = engines(options)
    for stage in STAGES:
        yield f"{stage}, engines", seen if isinstance(seen, str) else seen[stage]


def tokenize(options: Options) -> Seen:
    """Tokenize the tickets so often that there are as many rows as asked for."""
    with fresh_clone() as project:
        tickets = pl.read_csv(project.root / "data/raw/tickets.csv")
        many = pl.concat([tickets] * (options.rows // tickets.height + 1)).head(options.rows)
        # no two are the same, which ingest would drop
        numbered = many.with_columns(pl.format("{} {}", "text", pl.int_range(pl.len())).alias("text"))
        numbered.write_csv(project.root / "data/raw/tickets.csv")
        for stage in ("ingest", "split"):
            project.dvc("repro", "--single-item", stage)
        return {
            str(workers): forced(project, "tokenize", RAYON_NUM_THREADS=str(workers)) for workers in WORKERS
        }


def forced(project: Project, stage: str, **env: str) -> float:
    """Run a stage whether it is done or not, and return the seconds that it has noted."""
    given = project.env
    project.env = given | env
    try:
        project.dvc("repro", "--single-item", "--force", stage)
    finally:
        project.env = given
    return noted(project, stage)


def noted(project: Project, stage: str) -> float:
    """Return how long a stage's process lived when it last ran."""
    return taken(project.root, [stage])[stage][-1].seconds


def train(options: Options) -> Seen:
    """Train for some steps with so many processes of a thread each; both see as many rows a step.

    Without the shortcuts that one process alone takes on a CPU: with them it is as fast as two without.
    """
    name = "--train.distributed.nproc-per-node"
    found = {}
    with fresh_clone() as project:
        project.env |= {"OMP_NUM_THREADS": "1"}
        for workers in WORKERS:
            rows = ("--train.batch-size", str(options.batch_size // workers))
            steps = ("--train.cpu-shortcuts", "off", "--train.max-steps", str(options.steps))
            project.retrain(name, str(workers), *rows, *steps)
            found[str(workers)] = noted(project, "train")
    return found


def sweep(options: Options) -> Seen:
    """Return what benchmarks/sweeps.py measures of trainings by one worker and by two."""
    (of_trainings, *_) = sweeps.measure(options)
    medians = {row[0]: float(row[1].replace(",", "")) for row in of_trainings.rows}
    return {"1": medians[sweeps.ONE], "2": medians[sweeps.TWO]}


def engines(options: Options) -> dict[str, Seconds] | str:
    """Run all stages in their own processes, then on a Ray cluster; return the seconds of each."""
    if importlib.util.find_spec("ray") is None:
        return "Ray is not installed (extra ray)"
    found: dict[str, Seconds] = {stage: {} for stage in STAGES}
    checksums = {}
    with cluster(nodes=2) as nodes:
        for engine, words in (("local", ()), ("ray", ("--engine.address", nodes.address))):
            with fresh_clone() as project:
                project.env |= nodes.token | {"OMP_NUM_THREADS": "1"}
                of_two = ("--train.distributed.nproc-per-node", "2", "--train.max-steps", str(options.steps))
                project.retrain("--engine.name", engine, *words, *of_two)
                checksums[engine] = digests(project.root / "models/package")
                for stage in STAGES:
                    found[stage][engine] = noted(project, stage)
    if checksums["local"] != checksums["ray"]:
        return "the engines made packages of other bytes"
    return found
