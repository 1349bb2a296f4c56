"""A turn on the device: stages that compute on the CPU or a GPU take a slot of it, and wait in line for one.

Two trainings on the same cores take longer together than one after the other, because each has as many
threads as there are cores. Slots and places in the line are files locked through the kernel, which lets go of
them when their holder dies, however it dies.
"""

import errno
import fcntl
import os
import platform
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import psutil

from tasks.shared import devices
from tasks.shared.costs import COURSE
from tasks.shared.errors import InputError
from tasks.shared.files import private_folder
from tasks.shared.params import Params
from tasks.shared.role import role

SLOTS = "RETRAIN_DEVICE_SLOTS"
FOLDER = "RETRAIN_SLOTS_FOLDER"

# seconds between looks at the line
POLL = 0.2


@contextmanager
def device(stage: str, params: Params | None = None) -> Iterator[None]:
    """Hold a slot of each device that this process can see; wait for them in line, and say behind whom.

    params: those of a stage that others may compute, which then takes none.

    A device has one slot, or as many as RETRAIN_DEVICE_SLOTS says.
    Slots are those of a user on a machine, kept in ~/.cache/retrain/slots or the folder RETRAIN_SLOTS_FOLDER.
    Several devices are taken in one order by everybody, so that nobody waits for somebody who waits for him.
    """
    # one of several processes computes on the slots of who started them
    is_elsewhere = params is not None and params.engine.name != "local"
    wanted = [] if is_elsewhere or role().is_started else sorted(devices.names())
    with ExitStack() as held:
        for name in wanted:
            held.enter_context(_slot(folder() / name, number(), f"{stage}: waiting for a slot of {name}"))
        yield


def folder() -> Path:
    """Return the folder of this machine's slots; raise InputError where the user has no home."""
    if given := os.environ.get(FOLDER):
        return Path(given)
    try:
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    except RuntimeError:
        raise InputError(f"this user has no home folder to keep slots of devices in; set {FOLDER}") from None
    return cache / "retrain" / "slots" / platform.node()


def number() -> int:
    """Return how many slots a device has; raise InputError when RETRAIN_DEVICE_SLOTS is no such number."""
    given = os.environ.get(SLOTS, "1")
    if not given.isdecimal() or int(given) < 1:
        raise InputError(f"{SLOTS}: '{given}' is not a number of slots; give 1 or more")
    return int(given)


@contextmanager
def _slot(of: Path, count: int, waiting: str) -> Iterator[None]:
    """Hold one of `count` slots: whoever is first in line takes the first that is free."""
    came = time.monotonic()
    with _place_in_line(of) as place:
        said = ""
        while (slot := None if _before(place) else _free(of, count)) is None:
            holder = _holder(of, count)
            if holder not in ("", said):
                print(f"{waiting} behind {holder}", flush=True)
                said = holder
            time.sleep(POLL)
    COURSE.waited += time.monotonic() - came
    try:
        yield
    finally:
        # said outright, because a child that was forked meanwhile has the file open too
        fcntl.flock(slot, fcntl.LOCK_UN)
        os.close(slot)


@contextmanager
def _place_in_line(of: Path) -> Iterator[Path]:
    """Hold a file named by when the process that runs the stages was started, then by when this one was.

    So a run whose training has ended does not wait for the trainings of later runs before it is evaluated.
    """
    line = of / "line"
    try:
        private_folder(of)
        private_folder(line)
    except OSError as error:
        why = f"the slots of devices cannot be kept in {of} ({error.strerror})"
        raise InputError(f"{why}; set {FOLDER} to a folder that can be written") from None
    came = [psutil.Process(pid).create_time() for pid in (os.getppid() or os.getpid(), os.getpid())]
    place = line / f"{came[0]:015.2f}-{came[1]:015.2f}-{os.getpid()}"
    # others see it only once it is locked
    part = line / f".{place.name}"
    locked = _open(part, os.O_RDWR | os.O_CREAT)
    try:
        fcntl.flock(locked, fcntl.LOCK_EX)
        part.rename(place)
        yield place
    finally:
        place.unlink(missing_ok=True)
        os.close(locked)


def _before(place: Path) -> int:
    """Return how many stand in line before a place; places of the dead are taken away."""
    alive = 0
    for other in sorted(place.parent.glob("[0-9]*")):
        if other.name >= place.name:
            break
        with suppress(FileNotFoundError):
            left = _lock(other, os.O_RDWR)
            if left is None:
                alive += 1
            else:
                other.unlink()
                os.close(left)
    return alive


def _free(of: Path, count: int) -> int | None:
    """Lock the first free slot and write down who holds it; return its descriptor, or None without any."""
    for index in range(count):
        slot = _lock(of / f"slot-{index}", os.O_RDWR | os.O_CREAT)
        if slot is not None:
            os.truncate(slot, 0)
            os.write(slot, f"process {os.getpid()} in {Path.cwd()}".encode(errors="replace"))
            return slot
    return None


def _lock(file: Path, flags: int) -> int | None:
    """Return a descriptor that holds the file's lock, or None while another process does."""
    descriptor = _open(file, flags)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


def _open(file: Path, flags: int) -> int:
    """Return a descriptor of a file; raise InputError for a link, which may lead to any file of this user."""
    try:
        return os.open(file, flags | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        raise InputError(
            f"{file} is a link, not a slot; remove it, or set {FOLDER} to another folder"
        ) from None


def _holder(of: Path, count: int) -> str:
    """Return who holds the slots, as far as they have written it down yet."""
    files = (of / f"slot-{index}" for index in range(count))
    told = [file.read_text("utf-8", errors="replace") for file in files if file.exists()]
    return " and ".join(filter(None, told))
