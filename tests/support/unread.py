"""Standard output that nobody reads any more."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout


@contextmanager
def unread() -> Iterator[None]:
    """Have what this process prints go into a pipe that is closed at its other end: each line raises."""
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w", buffering=1, encoding="utf-8") as closed, redirect_stdout(closed):
        yield
