"""Ctrl-C and SIGTERM: the first ends a command in order, which may take a moment, the second at once."""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

SENTENCE = "interrupted; run the same command again to go on"


class Interrupted(KeyboardInterrupt):
    """A signal has asked the command to end: it passes through whatever handles mistakes."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.status = 128 + number


@contextmanager
def ends_in_order() -> Iterator[None]:
    """Exit with 130 on Ctrl-C and 143 on SIGTERM, with one sentence, wherever the command is.

    Inside of another one it does nothing: whoever is outside says it.
    """
    if isinstance(getattr(signal.getsignal(signal.SIGTERM), "__self__", None), _Signals):
        yield
        return
    signals = _Signals()
    signal.signal(signal.SIGTERM, signals.came)
    # what a shell starts in the background ignores Ctrl-C
    if signal.getsignal(signal.SIGINT) != signal.SIG_IGN:
        signal.signal(signal.SIGINT, signals.came)
    try:
        yield
    except KeyboardInterrupt as error:
        print(SENTENCE, file=sys.stderr, flush=True)
        sys.exit(error.status if isinstance(error, Interrupted) else 128 + signal.SIGINT)


class _Signals:
    """What has come so far."""

    def __init__(self) -> None:
        self.first = True

    def came(self, number: int, _: FrameType | None) -> NoReturn:
        """End the command in order, or at once: then the kernel ends its stages and server."""
        if self.first:
            self.first = False
            raise Interrupted(number)
        os.write(2, b"ended at once\n")
        os._exit(128 + number)
