"""Waiting for what must come, however slow the machine is: only what hangs is given up on."""

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

# seconds
PATIENCE = 1200.0


def until(look: Callable[[], Any], every: float = 0.2) -> Any:
    """Return what `look` sees as soon as it is true; fail when that never comes."""
    end = time.monotonic() + PATIENCE
    while not (seen := look()):
        assert time.monotonic() < end, f"did not come true within {PATIENCE:.0f} s"
        time.sleep(every)
    return seen


def instead_of_waiting(monkeypatch: pytest.MonkeyPatch, call: Callable[[float], object]) -> None:
    """Have a call made, with the seconds, where somebody would sleep for a second or more."""
    sleep, mine = time.sleep, threading.get_ident()

    def instead(seconds: float) -> None:
        # threads that libraries leave behind sleep as they like
        if seconds >= 1 and threading.get_ident() == mine:
            call(seconds)
        else:
            sleep(seconds)

    monkeypatch.setattr(time, "sleep", instead)
