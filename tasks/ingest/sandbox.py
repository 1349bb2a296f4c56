"""Work on files that nobody vouches for, in a process whose crash, greed or endlessness is one sentence.

What native code makes of a damaged file can
be anything, and no check in the same process survives a segmentation fault. So the work is forked off, under
limits that the kernel holds: memory (RLIMIT_DATA), and CPU time since the last sign of progress (RLIMIT_CPU).
What it finds comes back over a pipe as JSON and Arrow, never as a pickle.
"""

import contextlib
import faulthandler
import json
import os
import resource
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, Pipe
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import pyarrow as pa

from tasks.shared.errors import InputError
from tasks.shared.stage import end_with_parent

MB = 1_000_000
# the exit status when there is too little of it even to say so
NO_MEMORY = 77


@dataclass(frozen=True)
class Job:
    """One file to work on: its name in sentences, and what it may take."""

    name: str
    # bytes of memory, beyond what the process has when it starts
    memory: int
    # of CPU time without a sign of progress
    seconds: int


class Part(NamedTuple):
    """What the work has found so far: values that JSON can write, and rows."""

    said: dict[str, Any]
    batch: pa.RecordBatch | None = None


Work = Callable[[int], Iterator[Part]]


def apart(jobs: Sequence[Job], work: Work) -> Iterator[tuple[int, Part]]:
    """Yield each part that `work` finds in a job, with the index of the job, one after another.

    `work` runs in a fork: nothing that has threads of its own (polars) may be used in it. Raises InputError
    with what `work` says of the file, or when the file ends the process, takes too much memory or no end.
    """
    ours, theirs = Pipe(duplex=False)
    sys.stdout.flush()
    sys.stderr.flush()
    parent = os.getpid()
    pid = os.fork()
    if pid == 0:
        ours.close()
        _child(theirs, parent, jobs, work)
    theirs.close()
    at = 0
    try:
        while (part := _received(ours)) is not None:
            if "refused" in part.said:
                raise InputError(part.said["refused"])
            if "failed" in part.said:
                raise RuntimeError(part.said["failed"])
            if "begins" in part.said:
                at = part.said["begins"]
            else:
                yield at, part
        pid, ended = 0, os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        if ended:
            raise InputError(_death(jobs[at], ended))
    finally:
        ours.close()
        if pid:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


def _received(pipe: Connection) -> Part | None:
    """Return the next part, or None when the other end is gone, be it within a part."""
    try:
        said = json.loads(pipe.recv_bytes())
        if not said.pop("rows"):
            return Part(said)
        with pa.ipc.open_stream(pipe.recv_bytes()) as stream:
            batch = stream.read_next_batch()
    except (EOFError, OSError):
        return None
    batch.validate(full=True)
    return Part(said, batch)


def _send(pipe: Connection, part: Part) -> None:
    pipe.send_bytes(json.dumps({**part.said, "rows": part.batch is not None}).encode())
    if part.batch is not None:
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, part.batch.schema) as stream:
            stream.write_batch(part.batch)
        pipe.send_bytes(sink.getvalue())


def _death(job: Job, ended: int) -> str:
    """Return why a job's file is refused, by how it ended the process."""
    if -ended == signal.SIGXCPU:
        return (
            f"{job.name}: nothing more came of it in {job.seconds} s of computing; "
            "it is damaged or not what its ending says, so check data.format or write the file again"
        )
    if ended == NO_MEMORY:
        return f"{job.name}: {_greed(job)}"
    if -ended in (signal.SIGABRT, signal.SIGKILL):
        return f"{job.name}: the file is damaged, or {_greed(job)}"
    how = signal.Signals(-ended).name if ended < 0 else f"status {ended}"
    return f"{job.name}: the file is damaged: whatever reads it is ended by it ({how}); write the file again"


def _greed(job: Job) -> str:
    most = job.memory // MB
    return (
        f"reading it takes more than {most} MB of memory; "
        f"if that is what it holds, raise data.max_memory_mb, for example: --data.max_memory_mb {2 * most}"
    )


# in the process of its own


def _child(pipe: Connection, parent: int, jobs: Sequence[Job], work: Work) -> NoReturn:
    """Do all jobs and end the process, whatever comes."""
    status = 1
    try:
        _prepare(parent)
        with contextlib.suppress(BrokenPipeError):
            _work(pipe, jobs, work)
            status = 0
    except MemoryError:
        status = NO_MEMORY
    finally:
        os._exit(status)


def _prepare(parent: int) -> None:
    """Be silent and killable: a crashing library's words help nobody, and the handlers are the parent's."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    end_with_parent(parent=parent)
    faulthandler.disable()
    silent = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(silent, descriptor)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # the default pool takes a gigabyte at once, and lives from it without the kernel
    pa.set_memory_pool(pa.system_memory_pool())


def _work(pipe: Connection, jobs: Sequence[Job], work: Work) -> None:
    had = _data()
    for index, job in enumerate(jobs):
        _send(pipe, Part({"begins": index}))
        _limit(resource.RLIMIT_DATA, had + job.memory)
        refused = None
        try:
            _give_time(job)
            for part in work(index):
                _send(pipe, part)
                _give_time(job)
        except InputError as error:
            refused = {"refused": str(error)}
        except MemoryError:
            refused = {"refused": f"{job.name}: {_greed(job)}"}
        except OSError as error:
            refused = {"refused": f"{job.name}: cannot be read ({error.strerror}); see that it can"}
        except Exception:  # noqa: BLE001 (a mistake of ours: the parent raises it)
            refused = {"failed": traceback.format_exc()}
        if refused:
            _limit(resource.RLIMIT_DATA, None)
            _send(pipe, Part(refused))
            return


def _give_time(job: Job) -> None:
    _limit(resource.RLIMIT_CPU, int(time.process_time()) + 1 + job.seconds)


def _limit(what: int, most: int | None) -> None:
    """Set a limit that this process may raise again, below what it was given; None: none of ours."""
    hard = resource.getrlimit(what)[1]
    if most is None or (hard != resource.RLIM_INFINITY and most > hard):
        most = hard
    resource.setrlimit(what, (most, hard))


def _data() -> int:
    """Return the bytes that RLIMIT_DATA counts of this process."""
    statm = Path("/proc/self/statm")
    # the sixth number: pages of data and stack
    return int(statm.read_text("ascii").split()[5]) * resource.getpagesize() if statm.exists() else 0
