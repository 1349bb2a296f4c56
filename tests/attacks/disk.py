"""A disk that is full or fails at a write of the ledger, of Git or of a whole run: one sentence, and the next run makes it good."""

import errno
import multiprocessing
import os
import shutil
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import chdir, contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random

from flows.cli.signals import ends_in_order
from flows.git.commands import git
from flows.git.worktrees import remove_dead, worktree
from flows.ledger import journal, rollback
from flows.ledger.experiments import experiments, save
from flows.ledger.garbage import collect
from flows.ledger.running import IsolatedRun
from flows.ledger.sharing import share_cache
from flows.ledger.stages import Ledger
from flows.ledger.torn import repair_torn
from flows.report.certificate import Certificate
from tasks.shared.errors import InputError, disk_in_words
from tasks.shared.locks import alone
from tests.attacks import Attempt
from tests.support.project import environment
from tests.support.small import made, objects, pipeline

LONG, SHORT = 40, 4
PAGE = 4096
ROOMY = "64m"
IS_ROOT = os.geteuid() == 0
# what Python tells before it writes, renames, links or makes something
WRITES = ("open", "os.rename", "os.link", "os.mkdir", "os.remove", "os.truncate")
FORKED = multiprocessing.get_context("fork")


@contextmanager
def mounted(folder: Path) -> Iterator[Path]:
    """Put a disk of its own under a folder, where this may: only root may."""
    folder.mkdir()
    if not IS_ROOT:
        yield folder
        return
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={ROOMY}", "tmpfs", str(folder)], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def resize(disk: Path, size: str) -> None:
    subprocess.run(["mount", "-o", f"remount,size={size}", str(disk)], check=True)


def pages(disk: Path) -> int:
    """Return how many pages of a disk are used."""
    return shutil.disk_usage(disk).used // PAGE


def work(home: Path) -> None:
    """Do all that runs do to a checkout: one in place, an isolated one, a certificate, garbage collection."""
    said: Callable[[str], None] = print
    with chdir(home), alone(home / journal.RUN_LOCK):
        rollback.undo(home, said, journal.DEAD)
        remove_dead(home, said)
        journal.Journal.begin(home)
        try:
            repair_torn(home, said)
            made(home)
            journal.discard(home)
        finally:
            rollback.undo(home, said, "this run")
    with worktree(home, "run", "HEAD") as folder, chdir(folder):
        share_cache(home, folder)
        (folder / "source.txt").write_text("another\n")
        under_way = IsolatedRun(home, folder, "run")
        with under_way.marked():
            made(folder, Ledger(folder, sparse=True, isolated_run=under_way))
            saved = save(folder, "run", "a run")
    Certificate("run", saved.commit).keep(home)
    collect(home, dry_run=False)


def fail_at(number: int, folder: Path, code: int) -> None:
    """Have the `number`-th write below a folder fail in this process, which must end soon: a hook cannot be taken away."""
    left = [number]

    def told(event: str, arguments: tuple[object, ...]) -> None:
        if event not in WRITES or not str(arguments[0]).startswith(str(folder)):
            return
        if event == "open" and not (
            isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
        ):
            return
        left[0] -= 1
        if left[0] == 0:
            raise OSError(code, os.strerror(code), str(arguments[0]))

    sys.addaudithook(told)


def in_a_process(home: Path, log: Path, before: Callable[[], None] = lambda: None) -> tuple[int | None, str]:
    """Do the work as a command of ours does, in a process of its own; return its exit status and what it said."""

    def run() -> None:
        out = os.open(log, os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
        os.dup2(out, 1)
        os.dup2(out, 2)
        before()
        try:
            with ends_in_order(), disk_in_words():
                work(home)
        except InputError as error:
            print(f"error: {error}", flush=True)
            os._exit(1)
        except BaseException:  # noqa: BLE001 (what an attack provokes is what is looked for)
            traceback.print_exc()
            os._exit(2)
        os._exit(0)

    process = FORKED.Process(target=run)
    process.start()
    process.join()
    return process.exitcode, log.read_text("utf-8", "replace")


@dataclass(frozen=True)
class Good:
    """How a checkout stands after work that nothing disturbed."""

    objects: frozenset[str]
    lock: str

    @classmethod
    def of(cls, home: Path) -> "Good":
        """Return how a checkout stands."""
        return cls(frozenset(objects(home)), (home / "dvc.lock").read_text())


def wrong(home: Path, log: Path, good: Good, status: int | None, said: str) -> str | None:
    """Return what is wrong after work that was disturbed, and after the same work again."""
    errors = [line for line in said.splitlines() if line.startswith("error: ")]
    if status not in (0, 1) or (status == 1 and len(errors) != 1):
        return f"status {status}, {len(errors)} sentences: {said[-1500:]}"
    status, said = in_a_process(home, log)
    if status != 0:
        return f"the same again ended with {status}: {said[-1500:]}"
    if Good.of(home) != good:
        return "the cache or dvc.lock is not what it is without a fault"
    if [experiment.name for experiment in experiments(home)] != ["run"] or not git(
        home, "notes", "--ref=retrain", "list"
    ):
        return "an experiment or certificate is missing"
    if len(git(home, "worktree", "list").splitlines()) != 1 or (home / journal.FILE).exists():
        return "something is left"
    git(home, "fsck", "--strict")
    return None


def attempts(seed: int, count: int, scratch: Path) -> Iterator[Attempt]:
    """Yield attempts on a full disk (where this may mount one) and on one whose writes fail, in turn."""
    os.environ.update(environment(scratch))
    log = scratch / "said.log"
    with mounted(scratch / "disk") as disk:
        template = pipeline(scratch / "template")
        home = shutil.copytree(template, disk / "home", symlinks=True)
        before = pages(disk)
        status, said = in_a_process(home, log)
        assert status == 0, said
        good, needed = Good.of(home), pages(disk) - before
        for number in range(count):
            chance = Random(seed + number)  # noqa: S311 (the same attempt again, no secret)
            shutil.rmtree(home)
            shutil.copytree(template, home, symlinks=True)
            if IS_ROOT and number % 2 == 0:
                free = chance.randrange(needed)
                resize(disk, str((pages(disk) + free) * PAGE))
                status, said = in_a_process(home, log)
                resize(disk, ROOMY)
                case = f"seed {seed + number}: {free} of {needed} pages free"
            else:
                at, code = chance.randrange(1, 150), chance.choice((errno.EIO, errno.ENOSPC))
                status, said = in_a_process(home, log, lambda at=at, code=code: fail_at(at, home, code))  # type: ignore[misc]
                case = f"seed {seed + number}: {errno.errorcode[code]} at write {at}"
            yield Attempt(case, wrong(home, log, good, status, said))
