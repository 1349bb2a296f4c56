"""Locks between runs: held through the kernel, which releases them when the holder dies, however it dies."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout


@contextmanager
def alone(file: Path, waiting: Callable[[str], None] = lambda _: None) -> Iterator[None]:
    """Hold the lock `file`, which a process may take again; tell `waiting` who has it, and wait."""
    file.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(file, is_singleton=True, thread_local=False)
    # the lock itself is emptied by whoever asks for it
    holder = file.with_name(file.name + ".pid")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        waiting(_who(holder))
        lock.acquire()
    try:
        holder.write_text(f"{os.getpid()}\n", encoding="utf-8")
        yield
    finally:
        lock.release()


def _who(holder: Path) -> str:
    try:
        return f"process {holder.read_text('utf-8').strip()}"
    except FileNotFoundError:
        return "another process"


@contextmanager
def alone_if_free(file: Path) -> Iterator[bool]:
    """Hold the lock `file` if nobody has it; yield whether it is held now."""
    lock = FileLock(file)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        yield False
        return
    try:
        yield True
    finally:
        lock.release()


def is_free(file: Path) -> bool:
    """Return whether nobody holds the lock `file`."""
    with alone_if_free(file) as is_mine:
        return is_mine


def forget(file: Path) -> None:
    """Remove a lock that is held here; who waits for it makes it anew."""
    file.unlink(missing_ok=True)
    file.with_name(f"{file.name}.pid").unlink(missing_ok=True)
