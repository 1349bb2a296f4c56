"""What every stage does around its work: params, versions, errors said, an end with its parent."""

import ctypes
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib import metadata
from pathlib import Path
from typing import NoReturn

from tasks.shared import costs, environment, progress, tracking
from tasks.shared.errors import InputError, disk_in_words, full, is_memory_full
from tasks.shared.params import Params
from tasks.shared.params_file import load, read
from tasks.shared.role import role

PR_SET_PDEATHSIG = 1
PINS = Path("pins.yaml")
ANY_VERSION = "RETRAIN_ANY_VERSION"
MEMORY_FULL = (
    "this machine's memory does not hold what the stage needs; end what else runs here, or take a larger "
    "machine, and run the same command again"
)
# the exit status of a stage that could not do its work
FAILED = 1


@contextmanager
def stage(name: str) -> Iterator[Params]:
    """Run a stage's work under the params of params.yaml; exit with status 1 and a sentence when it fails."""
    end_with_parent()
    environment.leave_out()
    try:
        with disk_in_words():
            # what says but half of it is refused before any work
            role()
            params = load()
            check_pins(params.problem)
            tracking.refuse_missing(params.trackers)
            yield params
            progress.cost(costs.note(name, params))
    except InputError as error:
        _fail(f"{name}: {error}")
    except Exception as error:
        # a library that has no word for it
        sentence = MEMORY_FULL if is_memory_full(error) else full(Path())
        if sentence is None:
            raise
        _fail(f"{name}: {sentence}")


def warn(sentences: list[str]) -> dict[str, list[str]]:
    """Print warnings, and return them as a stage's metrics file holds them: nothing without any."""
    for sentence in sentences:
        print(f"warning: {sentence}", flush=True)
    return {"warnings": sentences} if sentences else {}


def _fail(sentence: str) -> NoReturn:
    if not progress.error(sentence):
        # where that goes may be full too
        with suppress(OSError):
            print(f"error: {sentence}", file=sys.stderr, flush=True)
    sys.exit(FAILED)


def end_with_parent(by: signal.Signals = signal.SIGKILL, parent: int | None = None) -> None:
    """Ask the kernel for a signal when whoever started this is gone: a killed run leaves no stage (Linux).

    parent: the process that started this one, where it knows; it may be gone already.
    """
    if sys.platform != "linux":
        return
    parent = parent or os.getppid()
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, by, 0, 0, 0)
    # it died before the call
    if os.getppid() != parent:
        sys.exit(FAILED)


def pins(problem: str, root: Path = Path()) -> dict[str, str]:
    """Return the pinned version of every library that decides a number, of all problems or of this one."""
    pinned = read(root / PINS)
    # commits of before pinned all in one table
    pinned = pinned.get("core", pinned)
    own = root / "tasks/problems" / problem / PINS
    if own.exists():
        pinned = {**pinned, **read(own)}
    return {package: str(version) for package, version in pinned.items()}


def check_pins(problem: str, root: Path = Path()) -> None:
    """Raise InputError when a version is not the pinned one: results would be kept under a false key.

    `retrain reproduce` keeps none, only compares them, and has said so itself: it sets RETRAIN_ANY_VERSION.
    """
    if os.environ.get(ANY_VERSION):
        return
    for package, pinned in pins(problem, root).items():
        try:
            installed = metadata.version(package)
        except metadata.PackageNotFoundError:
            missing = f"{package} {pinned} is pinned in {PINS} but not installed"
            raise InputError(f"{missing}; run `make install`") from None
        # 2.13.0+cpu is 2.13.0, built for the CPU
        if installed.split("+")[0] != pinned:
            raise InputError(
                f"{package} {installed} is installed but {pinned} is pinned in {PINS}; "
                "run `make install`, or change the pin there and in constraints.txt"
            )
