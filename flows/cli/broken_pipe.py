"""A broken pipe: `retrain plan --json | head -1` ends without a word, as other tools do."""

import os
import select
import sys
from collections.abc import Iterator
from contextlib import contextmanager

# Python's own exit status for a broken pipe, and rich's
UNREAD = 1


@contextmanager
def ends_when_unread() -> Iterator[None]:
    """Exit with status 1, silently, when stdout turns out to be a pipe that was closed at its other end.

    After Python's documentation of `signal`, note on SIGPIPE: giving that signal its default action would end
    us when any connection breaks.
    """
    try:
        try:
            yield
        finally:
            # what is left to write, while the error can still be caught
            sys.stdout.flush()
    except BrokenPipeError:
        if not _is_unread():
            raise
        # Python flushes once more when it exits
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(UNREAD)


def _is_unread() -> bool:
    """Return whether stdout is closed at its other end; else it was a connection that broke."""
    output = select.poll()
    output.register(sys.stdout, 0)
    return bool(output.poll(0))
