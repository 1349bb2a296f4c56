"""Reading and writing with no more rights than a file's mode gives, also where root runs the tests."""

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager

# _LINUX_CAPABILITY_VERSION_3, whose sets are of twice 32 bits
VERSION = 0x20080522


class Rights(ctypes.Structure):
    """Half of a thread's capabilities, as capset(2) takes them."""

    _fields_ = [(name, ctypes.c_uint32) for name in ("effective", "permitted", "inheritable")]


@contextmanager
def as_no_root() -> Iterator[None]:
    """Take from this thread, and from those that it starts meanwhile, all that root alone may."""
    libc = ctypes.CDLL(None, use_errno=True)
    this_thread = (ctypes.c_uint32 * 2)(VERSION, 0)
    own, none = (Rights * 2)(), (Rights * 2)()
    _done(libc.capget(this_thread, own))
    for number, its in enumerate(own):
        none[number] = Rights(0, its.permitted, its.inheritable)
    _done(libc.capset(this_thread, none))
    try:
        yield
    finally:
        _done(libc.capset(this_thread, own))


def _done(status: int) -> None:
    if status:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
