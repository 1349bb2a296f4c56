"""Processes that are forked from the one in which tests run, with all that it holds."""

import multiprocessing
import os
import sys
import traceback
from collections.abc import Callable
from multiprocessing.context import ForkProcess
from typing import NoReturn


def child(work: Callable[..., object], *given: object) -> ForkProcess:
    """Return a process that does some work and ends with status 0, or 1 when it raises."""
    return multiprocessing.get_context("fork").Process(target=_to_the_end, args=(work, given))


def _to_the_end(work: Callable[..., object], given: tuple[object, ...]) -> NoReturn:
    """Do the work and end at once.

    Not as Python does: what other tests have had Prefect start here ends at exit too, and cannot where its
    threads are not, by which all that was done would count as failed, without a word.
    """
    status = 1
    try:
        work(*given)
        status = 0
    except BaseException:  # noqa: BLE001 (the process ends)
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
