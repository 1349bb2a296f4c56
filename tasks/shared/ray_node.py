"""What a node of a Ray cluster does for a stage: shards, in a folder that holds but the files sent along."""

import fcntl
import os
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache, lru_cache
from pathlib import Path
from tempfile import gettempdir, mkdtemp
from typing import TYPE_CHECKING, Any

from tasks.shared import environment
from tasks.shared.errors import InputError
from tasks.shared.files import own_folder
from tasks.shared.stage import check_pins

if TYPE_CHECKING:
    from ray import ObjectRef


def computed(
    problem: str,
    held: "list[ObjectRef[Any]]",
    shard: Any,
    files: Mapping[str, bytes],
    writes: str | None,
    threads: int,
) -> tuple[list[Any], dict[str, bytes]]:
    """Return what a function makes of a shard, and the files that it wrote, by their names."""
    prepare(problem)
    _use_threads(threads)
    return compute(_function(held[0]), shard, files, writes)


def compute(
    function: Callable[[Any], Iterable[Any]],
    shard: Any,
    files: Mapping[str, bytes],
    writes: str | None,
) -> tuple[list[Any], dict[str, bytes]]:
    """Return what a function makes of a shard where no other files are, and those that it wrote."""
    with scratch(files):
        items = list(function(shard))
        written = contents(Path(writes)) if writes else {}
        return items, {name: content for name, content in written.items() if name not in files}


@lru_cache(maxsize=1)
def _function(ref: "ObjectRef[Any]") -> Callable[[Any], Iterable[Any]]:
    """Return a function, fetched once for all shards that this process computes."""
    import ray

    function: Callable[[Any], Iterable[Any]] = ray.get(ref)
    return function


@cache
def prepare(problem: str) -> None:
    """Raise InputError when a library of this node is not the pinned one; have params alone decide."""
    environment.leave_out()
    check_pins(problem, Path(__file__).parents[2])


def _use_threads(count: int) -> None:
    """Compute with so many threads, where anything does: they decide the order of sums."""
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(count)


@contextmanager
def scratch(files: Mapping[str, bytes]) -> Iterator[None]:
    """Work in a folder that holds these files, by their names, and is gone afterwards.

    A process that is killed leaves its folder; the next one on that machine takes it away.
    """
    all_of_them = own_folder(Path(gettempdir()) / f"retrain-{os.geteuid()}")
    for left in all_of_them.glob("[!.]*"):
        with _held(left) as is_mine:
            if is_mine:
                shutil.rmtree(left, ignore_errors=True)
    before, folder = Path.cwd(), Path(mkdtemp(prefix=".", dir=all_of_them))
    with _held(folder):
        # others see it as one once it is held
        folder = folder.rename(all_of_them / folder.name.removeprefix("."))
        os.chdir(folder)
        try:
            for name, content in files.items():
                write(Path(name), content)
            yield
        finally:
            os.chdir(before)
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _held(folder: Path) -> Iterator[bool]:
    """Hold a folder, unless it is gone or another process holds it; yield whether it is held."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:
        yield False
        return
    try:
        yield _locked(descriptor)
    finally:
        os.close(descriptor)


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


# files, by their names in the current folder, here and there


def name_of(path: Path) -> str:
    """Return a file's name in the current folder, or raise InputError: nodes write where it stands there."""
    plain = Path(os.path.normpath(path))
    if plain.is_absolute() or ".." in plain.parts:
        outside = f"nodes get files by their places in the repository, and {path} is not named by its own"
        remedy = "copy it to data/, or name it as it is called from there, or set engine.name to local"
        raise InputError(f"engine.name ray: {outside}; {remedy}")
    return plain.as_posix()


def write(file: Path, content: bytes) -> None:
    """Write a file below the current folder, whole or not at all; raise InputError for one outside."""
    file = Path(name_of(file))
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_name(f"{file.name}.{os.getpid()}.part")
    part.write_bytes(content)
    part.replace(file)


def contents(folder: Path, name: Path | None = None) -> dict[str, bytes]:
    """Return the files below a folder, by their names in the current one.

    name: as if the folder were called so there.
    """
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {((name or folder) / path.relative_to(folder)).as_posix(): path.read_bytes() for path in files}
