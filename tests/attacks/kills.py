"""Kills at random moments and at sampled system calls of all that runs do to a checkout: the same work again makes it good."""

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random

from flows.git import refs
from tests.attacks import Attempt
from tests.attacks.disk import FORKED, Good, in_a_process, work, wrong
from tests.support.project import environment
from tests.support.small import pipeline

LONG, SHORT = 80, 6
STRACE = shutil.which("strace")
CALLS = "openat,rename,link,unlink,mkdir,rmdir,write,pwrite64,fsync,ftruncate,symlink"
# of such calls that the process itself makes in all its work
MOST = 1200
# and one of Git's at most
OF_GIT = 60


def traced(pid: int, number: int, folder: Path | None) -> subprocess.Popen[str]:
    """Have a process, or one of those it starts, killed at its `number`-th system call (on a folder's files alone)."""
    where = ["-P", str(folder)] if folder else []
    words = [
        str(STRACE),
        "-f",
        "-o",
        "/dev/null",
        *where,
        "-e",
        f"inject={CALLS}:signal=KILL:when={number}",
        "-p",
        str(pid),
    ]
    started = subprocess.Popen(words, stderr=subprocess.PIPE, text=True)
    assert started.stderr is not None
    # it says that it is attached
    started.stderr.readline()
    return started


def killed(
    home: Path, log: Path, *, after: float | None = None, at: int = 0, folder: Path | None = None
) -> None:
    """Do the work, and kill whoever does it after some seconds, or at a system call."""
    reading, writing = os.pipe()

    def begin() -> None:
        os.close(writing)
        out = os.open(log, os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
        os.dup2(out, 1)
        os.dup2(out, 2)
        # until whoever kills it is ready
        os.read(reading, 1)
        work(home)

    process = FORKED.Process(target=begin)
    process.start()
    assert process.pid is not None
    tracer = traced(process.pid, at, folder) if at else None
    os.close(reading)
    os.close(writing)
    if after is not None:
        time.sleep(after)
        process.kill()
    process.join()
    if tracer is not None:
        tracer.wait()
        assert tracer.stderr is not None
        tracer.stderr.close()


def attempts(seed: int, count: int, scratch: Path) -> Iterator[Attempt]:
    """Yield kills at random moments and at system calls, of ours and of Git's, in turn."""
    os.environ.update(environment(scratch))
    # a lock of Git that a kill has left is outwaited; how long is not what is tried here
    refs.STALE = 0.3
    log = scratch / "said.log"
    template = pipeline(scratch / "template")
    home = shutil.copytree(template, scratch / "home", symlinks=True)
    began = time.monotonic()
    status, said = in_a_process(home, log)
    seconds = time.monotonic() - began
    assert status == 0, said
    good = Good.of(home)
    for number in range(seed, seed + count):
        chance = Random(number)  # noqa: S311 (the same attempt again, no secret)
        shutil.rmtree(home)
        shutil.copytree(template, home, symlinks=True)
        if number % 2 == 0 or STRACE is None:
            after = chance.uniform(0, seconds)
            case = f"seed {number}: killed after {after:.2f} of {seconds:.2f} s"
            killed(home, log, after=after)
        elif number % 4 == 1:
            at = int(MOST ** chance.uniform(0, 1))
            case = f"seed {number}: killed at its system call {at}"
            killed(home, log, at=at)
        else:
            at = chance.randint(1, OF_GIT)
            case = f"seed {number}: killed at system call {at} on .git"
            killed(home, log, at=at, folder=home / ".git")
        yield Attempt(case, wrong(home, log, good, 0, ""))
