"""Locks between runs: held through the kernel, which releases them when the holder dies, however it dies."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout


@contextmanager
def alone(file: Path, waiting: Callable[[str], None] = lambda _: None) -> Iterator[None]:
    """Hold the lock `file`. While another process has it, wait, after telling `waiting` which one; a process may take it again."""
    file.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(file, is_singleton=True, thread_local=False)
    holder = file.with_name(file.name + ".pid")  # the lock itself is emptied by whoever asks for it
    try:
        lock.acquire(timeout=0)
    except Timeout:
        waiting(f"process {holder.read_text('utf-8').strip()}" if holder.exists() else "another process")
        lock.acquire()
    try:
        holder.write_text(f"{os.getpid()}\n", encoding="utf-8")
        yield
    finally:
        lock.release()


def is_free(file: Path) -> bool:
    """Return whether nobody holds the lock `file`."""
    try:
        with FileLock(file, timeout=0):
            return True
    except Timeout:
        return False
