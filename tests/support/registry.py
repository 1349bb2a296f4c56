"""Runs that took no time, as Git keeps them, and promoters of their models: what tests of the registry do at will."""

import multiprocessing
import os
import random
import shutil
import signal
import time
from collections.abc import Callable, Sequence
from contextlib import chdir
from multiprocessing.connection import Connection
from multiprocessing.context import ForkProcess
from pathlib import Path

import psutil
from dvc.repo import Repo

from flows.git.commands import git
from flows.ledger.experiments import save
from flows.ledger.stages import Ledger
from flows.registry.looks import take
from flows.registry.promotion import Promoted, promote
from flows.registry.tags import Assignment, Record, Registry, read
from tasks.shared.errors import InputError
from tests.support.wait import PATIENCE, until

NAME, STAGE = "tickets", "prod"
SHARED = "['core']\n    analytics = false\n['exp']\n    auto_push = true\n"


def quiet(_: str) -> None:
    """Say nothing."""


def repository(folder: Path) -> Path:
    """Make a Git repository with one commit, as DVC sees one that shares nothing."""
    (folder / ".dvc").mkdir(parents=True)
    (folder / ".dvc/config").write_text("['core']\n    analytics = false\n")
    (folder / ".gitignore").write_text(".retrain/\n/.dvc/tmp\n/.dvc/cache\n")
    for words in (["init", "-q", "-b", "main"], ["add", "-A"], ["commit", "-qm", "start"]):
        git(folder, *words)
    return folder


DVC_YAML = """
stages:
  package:
    cmd: exec python -m make
    deps: [source.txt]
    outs: [models/package]
artifacts:
  ${package.name}: {path: models/package, type: model}
"""


def packaging(folder: Path, stages: str = DVC_YAML) -> Path:
    """Make a checkout whose stages make a package, under the real DVC; unless others are given, one stage does."""
    folder.mkdir()
    git(folder, "init", "-q", "-b", "main")
    Repo.init(str(folder)).close()
    (folder / "dvc.yaml").write_text(stages)
    (folder / "params.yaml").write_text(f"package:\n  name: {NAME}\n")
    (folder / "source.txt").write_text("first\n")
    (folder / ".gitignore").write_text(".retrain/\n/models\n/plots\n/.*.part\n")
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", "start")
    return folder


def packaged(checkout: Path, text: str) -> str:
    """Have the stage make a package of a text; return the commit of the experiment that keeps it, and nothing else."""
    (checkout / "source.txt").write_text(f"{text}\n")

    def run() -> None:
        (checkout / "models/package").mkdir(parents=True, exist_ok=True)
        (checkout / "models/package/model.safetensors").write_text(f"weights of {text}\n")
        (checkout / "models/package/config.json").write_text(f'{{"is": "{text}"}}\n')

    with chdir(checkout):
        Ledger(checkout).run_or_restore("package", run)
    kept = save(checkout, text, f"a run of {text}").commit
    git(checkout, "reset", "-q", "--hard")
    shutil.rmtree(checkout / "models")
    return kept


def forget(checkout: Path) -> None:
    """Remove all experiments, as `dvc exp remove --all` does."""
    for ref in git(checkout, "for-each-ref", "--format=%(refname)", "refs/exps").splitlines():
        git(checkout, "update-ref", "-d", ref)


def shared(folder: Path, remote: Path) -> Path:
    """Have a repository share what it keeps with a bare one, which is made if it is not there."""
    (folder / ".dvc/config").write_text(SHARED)
    if not remote.exists():
        git(folder, "init", "-q", "--bare", "-b", "main", str(remote))
    git(folder, "remote", "add", "origin", str(remote))
    return folder


def remote_of(checkout: Path) -> Path:
    """Return the bare repository that one shares what it keeps over."""
    return Path(git(checkout, "remote", "get-url", "origin"))


def a_run(checkout: Path, name: str) -> str:
    """Return the commit of a run that was kept beside the branch."""
    tree = git(checkout, "rev-parse", "HEAD^{tree}")
    commit = git(checkout, "commit-tree", tree, "-p", "HEAD", "-m", name)
    git(checkout, "update-ref", f"refs/exps/{commit[:2]}/{commit[2:]}/{name}", commit)
    return commit


def last(checkout: Path, stage: str = STAGE) -> Assignment | None:
    """Return the last assignment of the stage."""
    return read(checkout, NAME).last(NAME, stage)


def won(
    checkout: Path,
    commit: str,
    replaces: Assignment | None,
    stage: str = STAGE,
    record: Record | None = None,
    say: Callable[[str], None] = quiet,
) -> Promoted:
    """Promote a commit."""
    return promote(checkout, NAME, stage, commit, record or Record(), replaces=replaces, say=say)


def tags(repository: Path) -> dict[str, str]:
    """Return the tags of a repository and what they are at."""
    told = git(repository, "for-each-ref", "--format=%(refname:strip=2) %(objectname)", "refs/tags")
    return dict(line.split(" ") for line in told.splitlines())


def promoter(checkout: Path, run: str, says: Connection) -> None:
    """Promote a run of its own over who has the stage now; say so before, and how it ended: `won` or `lost`.

    In a session of its own, so that all it has started can be killed with it.
    """
    os.setsid()
    commit = a_run(checkout, run)
    before = last(checkout)
    record = Record(run=run, replaced=str(before.number) if before else "0")
    says.send("begins")
    try:
        done = won(checkout, commit, before, record=record)
    except InputError as error:
        says.send(f"lost {error}")
    else:
        says.send(f"won {done.assignment.number}")


def looker(checkout: Path, candidate: str, says: Connection) -> None:
    """Take a look at a candidate of its own; say so before, and which number it has.

    In a session of its own, so that all it has started can be killed with it.
    """
    os.setsid()
    says.send("begins")
    try:
        look = take(checkout, NAME, candidate, "champion", [f"{7:016x}{'0' * 48}"])
    except InputError as error:
        says.send(f"lost {error}")
    else:
        says.send(f"took {look.number}")


def at_once(
    checkouts: Sequence[Path],
    turn: int,
    kill_within: float | None,
    work: Callable[[Path, str, Connection], None] = promoter,
) -> list[str]:
    """Have a promoter in each checkout at once, killed at a random moment of that many seconds; None: not at all.

    work: what each does instead. Returns how each ended: `killed` where it has not said.
    """
    forked = multiprocessing.get_context("fork")
    promoters = []
    for number, checkout in enumerate(checkouts):
        hears, says = forked.Pipe(duplex=False)
        process = forked.Process(target=work, args=(checkout, f"run-{turn}-{number}", says))
        process.start()
        says.close()
        promoters.append((process, hears))
    chance = random.Random(turn)  # noqa: S311
    ends = []
    for process, hears in promoters:
        assert hears.recv() == "begins"
        seconds = PATIENCE if kill_within is None else chance.uniform(0, kill_within)
        ends.append((time.monotonic() + seconds, process))
    for end, process in sorted(ends, key=lambda one: one[0]):
        process.join(max(0.0, end - time.monotonic()))
        if process.exitcode is None:
            _kill(process)
        process.join()
    return [_said(hears) for _, hears in promoters]


def _kill(process: ForkProcess) -> None:
    """Kill a promoter, and wait for the Git that it has started, which is in a process group of its own."""
    promoter = psutil.Process(process.pid)
    # it starts nothing any more while it is looked what it has started
    promoter.suspend()
    its = promoter.children(recursive=True)
    os.killpg(promoter.pid, signal.SIGKILL)
    until(lambda: all(map(_is_over, its)), every=0.02)


def _is_over(process: psutil.Process) -> bool:
    """Return whether a process has ended, also where nobody collects those that are orphaned."""
    try:
        return bool(process.status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


def _said(hears: Connection) -> str:
    try:
        return str(hears.recv())
    except EOFError:
        return "killed"


def check(repository: Path) -> Registry:
    """Assert that a repository's registry is whole, and return it.

    Each assignment is of a version, was made against the one before it, and no number is missing or twice there.
    """
    git(repository, "fsck", "--strict", "--connectivity-only")
    known = read(repository, NAME)
    its = [one for one in known.assignments if one.stage == STAGE]
    assert [one.number for one in its] == [*range(1, len(its) + 1)]
    for one in its:
        assert known.version_at(NAME, one.commit) is not None
        assert one.record.replaced == str(one.number - 1), "it was compared with the one before it"
    assert len({one.commit for one in known.versions}) == len(known.versions)
    assert {one.commit for one in known.versions} == {one.commit for one in its}
    return known
