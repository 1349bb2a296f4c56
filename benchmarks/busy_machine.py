"""Seconds of some optimizer steps of ours, by how OpenMP's threads wait: alone, and beside busy processes.

What is set when nobody says otherwise stands in tasks/shared/__init__.py. The library's own is 300,000 turns
(GOMP_SPINCOUNT in the manual of GNU's libgomp).
"""

import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from dataclasses import replace
from pathlib import Path

from benchmarks.measure import Options, Table, compare, in_turn
from benchmarks.training import OURS, prepare, results_of

REPEAT, STEPS, BUSY = 3, 15, 4
WAITS: Mapping[str, Mapping[str, str]] = {
    OURS: {},
    "the library's own": {"GOMP_SPINCOUNT": "300000"},
    "none": {"GOMP_SPINCOUNT": "0"},
}


def measure(options: Options) -> Iterator[Table]:
    """Yield a table for a machine with nothing beside, and for one with busy processes."""
    with tempfile.TemporaryDirectory(prefix="retrain-bench-") as folder:
        here = Path(folder)
        # what stages say is no part of the tables
        with redirect_stdout(sys.stderr):
            prepare(here, replace(options, steps=STEPS, epochs=None, data=None))
        programs = {name: _seconds(here, variables) for name, variables in WAITS.items()}
        targets = {"the library's own": "<= 1.05"}
        for count in (0, BUSY):
            with _busy(count):
                measured = in_turn(programs, options.repeat or REPEAT)
            title = f"{STEPS} steps of the tickets, {count} busy processes beside"
            yield compare(title, "s", measured, OURS, targets)


def _seconds(here: Path, variables: Mapping[str, str]) -> Callable[[], float]:
    words = ["benchmarks.training", str(here / "params.yaml")]

    def program() -> float:
        return float(results_of(words, here, accuracy=False, variables=variables)["seconds"])

    return program


@contextmanager
def _busy(count: int) -> Iterator[None]:
    """Have so many processes compute meanwhile."""
    command = [sys.executable, "-c", "while True: pass"]
    others = [subprocess.Popen(command) for _ in range(count)]
    try:
        yield
    finally:
        for other in others:
            other.kill()
            other.wait()
