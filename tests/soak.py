"""`python -m tests.soak --kills 50`: kill runs at random moments, run again, and see that nothing was lost or torn. Prints a table.

Each round starts without any cache, runs the pipeline, sends SIGKILL to one process (or all) after a random part of the time a run
takes, then runs once more and compares the bytes of the model with those of a run that nobody disturbed. What is killed: the flow, the
stage that is running, the process that starts stages, everything at once, or a Prefect worker with all it has started.
"""

import argparse
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from tasks.shared.files import digests
from tests.support.processes import alive, command, processes, started_by
from tests.support.project import Project, make_tiny_model, tiny_project
from tests.support.server import prefect_server
from tests.support.wait import PATIENCE

VICTIMS = ("flow", "stage", "fork server", "everything", "worker")
FORK_SERVER = "flows/engine/fork_server.py"
WHERE = ("in place", "isolated")
OUTPUTS = ("models/checkpoint", "models/package", "plots/train", "plots/evaluate", "metrics")


@contextmanager
def watched_project(folder: Path) -> Iterator[Project]:
    """Yield a clone with the tiny model, trained long enough to be killed, and a Prefect server."""
    (folder / "model").mkdir()
    make_tiny_model(folder / "model")
    made = tiny_project(folder / "project", folder / "model")
    params = made.root / "params.yaml"
    params.write_text(
        params.read_text("utf-8").replace("num_train_epochs: 2.0", "num_train_epochs: 10.0"), encoding="utf-8"
    )
    made.run("git", "commit", "-qam", "longer")
    with prefect_server(folder / "server") as url:
        made.env["PREFECT_API_URL"] = url
        prefect = (sys.executable, "-m", "prefect", "--no-prompt")
        made.run(*prefect, "work-pool", "create", "retrain", "--type", "process")
        made.run(*prefect, "deploy", "--name", "manual")
        yield made


def start(made: Project, victim: str, where: str) -> subprocess.Popen[str]:
    if victim == "worker":
        made.run(sys.executable, "-m", "prefect", "--no-prompt", "deployment", "run", "retrain/manual")
        return made.popen("prefect", "worker", "start", "--pool", "retrain", "--run-once", "--limit", "1")
    return made.popen("flows", "run", *(["--isolated"] if where == "isolated" else []))


def kill(made: Project, running: subprocess.Popen[str], victim: str) -> str:
    """Send SIGKILL to the victim, or to the flow when it is not there (yet, or any more); return what was hit."""
    everything = processes(made)
    forked = [process for process in everything if FORK_SERVER in command(process)]
    # a stage has the command line of the process that it was forked from
    stages = [process for process in forked if FORK_SERVER in started_by(process)]
    servers = [process for process in forked if process not in stages]
    hit = {"stage": stages, "fork server": servers, "everything": everything, "worker": everything}.get(
        victim, []
    )
    for process in hit:
        # one may have ended by itself, or with another
        with suppress(psutil.NoSuchProcess):
            process.kill()
    if victim == "flow" or not hit:
        running.kill()
        return "flow"
    return victim


def forget(made: Project) -> None:
    """Remove what earlier rounds computed."""
    for name in (
        ".dvc/cache",
        ".dvc/tmp",
        ".retrain/checkpoints",
        "models",
        "plots",
        "metrics",
        "data/ingested",
        "data/media",
        "data/splits",
        "data/tokens",
    ):
        shutil.rmtree(made.root / name, ignore_errors=True)
    (made.root / "dvc.lock").unlink(missing_ok=True)
    for ref in made.run("git", "for-each-ref", "--format=%(refname)", "refs/exps").stdout.split():
        made.run("git", "update-ref", "-d", ref)


def reference(made: Project) -> tuple[dict[str, str], float]:
    began = time.monotonic()
    made.retrain()
    seconds = time.monotonic() - began
    return outputs(made), seconds


def outputs(made: Project) -> dict[str, str]:
    return {
        f"{folder}/{name}": digest
        for folder in OUTPUTS
        for name, digest in digests(made.root / folder).items()
    }


def again(made: Project, where: str, good: dict[str, str]) -> list[str]:
    """Run once more and return what is wrong after it."""
    wrong = []
    done = made.retrain(*(["--isolated"] if where == "isolated" else []), status=None)
    if done.returncode:
        return [f"status {done.returncode}: {done.stderr[-300:]}"]
    if where == "isolated":
        (name,) = made.dvc("exp", "list", "--name-only").stdout.split()
        made.dvc("exp", "apply", name)
    if outputs(made) != good:
        wrong.append("other bytes")
    if "up to date" not in made.dvc("status").stdout:
        wrong.append("dvc status is not clean")
    if len(made.run("git", "worktree", "list").stdout.splitlines()) != 1:
        wrong.append("a worktree is left")
    end = time.monotonic() + PATIENCE
    while (left := alive(made)) and time.monotonic() < end:
        time.sleep(0.2)
    if left:
        wrong.append(f"processes are left: {left}")
    return wrong


def soak(made: Project, kills: int, seed: int) -> int:
    """Return how many of `kills` rounds went wrong."""
    chance = random.Random(seed)  # noqa: S311 (moments, not secrets)
    good, seconds = reference(made)
    print(
        f"a run takes {seconds:.1f} s; seed {seed}\n\n| # | where | killed | after s | then |\n|---:|---|---|---:|---|",
        flush=True,
    )
    failures = 0
    for number in range(1, kills + 1):
        forget(made)
        victim = VICTIMS[number % len(VICTIMS)]
        where = "isolated" if victim == "worker" else WHERE[number // len(VICTIMS) % 2]
        after = chance.uniform(0.5, seconds)
        running = start(made, victim, where)
        time.sleep(after)
        hit = kill(made, running, victim)
        running.wait()
        if running.stdout:
            running.stdout.close()
        wrong = again(made, where, good)
        failures += bool(wrong)
        made.run("git", "checkout", "-q", "--", ".")
        print(
            f"| {number} | {where} | {hit} | {after:.1f} | {'; '.join(wrong) or 'same bytes, clean'} |",
            flush=True,
        )
    print(f"\n{kills - failures} of {kills} kills cost nothing")
    return failures


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(prefix="retrain-soak-", ignore_cleanup_errors=True) as scratch,
        watched_project(Path(scratch)) as soaked,
    ):
        sys.exit(bool(soak(soaked, given.kills, given.seed)))
