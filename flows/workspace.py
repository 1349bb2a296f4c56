"""Where a run works, and what it is given: params written down, data versioned, the base model's content named."""

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from flows.ledger import Ledger
from tasks import base_models
from tasks.errors import InputError
from tasks.params import Params
from tasks.params_file import PARAMS, load, save, validated

STAGES = ("ingest", "split", "tokenize", "train", "evaluate", "package")
Say = Callable[[str], None]


def root() -> Path:
    """Return the folder above (or at) the current one that holds dvc.yaml."""
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / "dvc.yaml").exists():
            return folder
    raise InputError(f"there is no dvc.yaml in {here} or above it; change into a clone of the retrain repository")


@contextmanager
def in_place(params: Params, say: Say) -> Iterator[tuple[Path, Params]]:
    """Work in the checkout itself, one run at a time; yield its root and the params as they now stand in params.yaml."""
    checkout = root()
    os.chdir(checkout)
    state = checkout / ".retrain"
    state.mkdir(exist_ok=True)
    lock = FileLock(state / "run.lock")
    holder = state / "run.pid"
    try:
        lock.acquire(timeout=0)
    except Timeout:
        say(f"waiting for another run in this checkout (process {holder.read_text() if holder.exists() else 'unknown'})")
        lock.acquire()
    try:
        holder.write_text(str(os.getpid()))
        yield checkout, prepare(params, checkout, say)
    finally:
        lock.release()


def prepare(params: Params, checkout: Path, say: Say) -> Params:
    """Version the data, name the base model's content, write the params down; return them as they now stand in params.yaml."""
    params = validated(params.model_dump(), "params")  # a form checks fields, not what they are to each other
    params = _data_inside(params, checkout, say)
    model = base_models.resolve(params.model)
    if model != params.model:
        say(f"model {model.name} is at revision {model.revision}")
    params = params.model_copy(update={"model": model})
    save(params, checkout / PARAMS)
    return load(checkout / PARAMS)


def _data_inside(params: Params, checkout: Path, say: Say) -> Params:
    """Import data from outside the repository under DVC; warn of data that nothing versions."""
    given = params.data.path
    if any(sign in given for sign in "*?[") and not Path(given).exists():
        parts = Path(given).parts
        fixed = next(i for i, part in enumerate(parts) if any(sign in part for sign in "*?["))
        data = params.data.model_copy(update={"path": str(Path(*parts[:fixed]) if fixed else "."), "files": str(Path(*parts[fixed:]))})
        return _data_inside(params.model_copy(update={"data": data}), checkout, say)
    if "://" in given or not (checkout / given).resolve().is_relative_to(checkout):
        path = add(given, None, checkout, say)
        return params.model_copy(update={"data": params.data.model_copy(update={"path": path})})
    if not (checkout / given).exists():
        raise InputError(f"data.path: there is no file or folder '{given}'; give an existing one with --data.path")
    if not _versioned(checkout, given):
        say(f"warning: {given} is tracked neither by Git nor by DVC, so nobody can rebuild this model without it; `git add` it or `retrain add` it")
    return params


def add(source: str, name: str | None, checkout: Path, say: Say) -> str:
    """Bring a file, folder or URL into data/raw under DVC; return its path in the repository."""
    if "://" not in source and not Path(source).exists():
        raise InputError(f"there is no file or folder '{source}' to bring in; give an existing path or a URL")
    name = name or source.rstrip("/").rpartition("/")[2]
    if name in ("", ".", "..") or "/" in name:
        raise InputError(f"'{name}' cannot name a folder entry in data/raw; give a plain name: retrain add {source} NAME")
    began = time.monotonic()
    new = Ledger(checkout).bring_in(source, name)
    took = f"{time.monotonic() - began:.1f} s"
    say(f"{source} is {'now' if new else 'unchanged'} in data/raw/{name}, under DVC ({took}); commit data/raw/{name}.dvc to Git")
    return f"data/raw/{name}"


def _versioned(checkout: Path, path: str) -> bool:
    """Return whether Git tracks the path or DVC tracks it or a folder above it."""
    inside = Path(os.path.relpath(checkout / path, checkout))
    if any((checkout / f"{part}.dvc").exists() for part in (inside, *inside.parents) if part.name):
        return True
    git = shutil.which("git")
    if git is None:
        return False
    tracked = subprocess.run([git, "ls-files", "--", str(inside)], cwd=checkout, capture_output=True, text=True, check=False)  # noqa: S603
    return bool(tracked.stdout.strip())
