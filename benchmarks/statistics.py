"""What it takes to bootstrap a large test set: 1,000 resamples of 100,000 rows of 150 labels, a process each.

Ours has accuracy, macro and weighted F1 and the calibration error at once, alone and against another model.
Beside it `scipy.stats.bootstrap` of macro F1 alone, counted by NumPy and by scikit-learn (the latter from a
fiftieth of the resamples). Seconds are of the bootstrap alone, memory is the whole process's peak.
"""

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.measure import ROOT, Options, Table, compare, in_turn, peak
from tasks.shared.bootstrap import bootstrap, paired
from tasks.shared.params import Evaluate
from tasks.shared.statistics import classification

REPEAT = 3
ROWS, LABELS = 100_000, 150
PARAMS = Evaluate(n_resamples=1000)
PART = 50
OURS, PAIRED, SCIPY, SKLEARN = "ours", "ours, paired", "scipy, NumPy", "scipy, scikit-learn"
# of ours
MOST_SECONDS, MOST_MIB = 5, 1024


def measure(options: Options) -> list[Table]:
    """Return seconds and peak memory of each."""
    peaks: dict[str, float] = {}
    processor: dict[str, float] = {}

    def apart(name: str) -> float:
        command = [sys.executable, "-m", "benchmarks.statistics", name]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
        found = json.loads(done.stdout)
        peaks[name] = max(found["MiB"], peaks.get(name, 0))
        processor[name] = min(found["processor"], processor.get(name, found["processor"]))
        return float(found["seconds"])

    programs = {name: lambda name=name: apart(name) for name in PROGRAMS}
    measured = in_turn(programs, options.repeat or REPEAT)
    table = compare(f"Bootstrap of {ROWS:,} rows, {LABELS} labels", "s", measured, OURS, {SKLEARN: "<= 1.00"})
    table.notes.append("peak memory: " + ", ".join(f"{name} {peak:,.0f} MiB" for name, peak in peaks.items()))
    busy = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in processor.items() if name != SKLEARN)
    table.notes.append(f"processor time of the whole process, starting it too, at least: {busy}")
    for name in (OURS, PAIRED):
        is_met = statistics.median(measured[name]) < MOST_SECONDS and peaks[name] < MOST_MIB
        limits = f"under {MOST_SECONDS} s and {MOST_MIB} MiB"
        table.notes.append(f"{name}: {limits} {'met' if is_met else 'MISSED'}")
    return [table]


def _draw(right: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return predicted and actual label numbers, and confidences; the actual ones are always the same."""
    actual = np.random.default_rng(0).integers(0, LABELS, ROWS)
    random = np.random.default_rng(int(100 * right))
    predicted = np.where(random.random(ROWS) < right, actual, random.integers(0, LABELS, ROWS))
    return predicted, actual, random.uniform(0.1, 1, ROWS)


def _statistics(right: float) -> dict[str, Any]:
    predicted, actual, confidence = _draw(right)
    return classification(predicted, actual, [f"label {number}" for number in range(LABELS)], confidence)


def _ours() -> float:
    mine = _statistics(0.8)
    began = time.perf_counter()
    bootstrap(mine, PARAMS)
    return time.perf_counter() - began


def _paired() -> float:
    mine, other = _statistics(0.8), _statistics(0.75)
    began = time.perf_counter()
    paired(mine, other, PARAMS)
    return time.perf_counter() - began


def _scipys(macro_f1: Callable[[np.ndarray, np.ndarray], float], n_resamples: int) -> float:
    from scipy.stats import bootstrap as scipys

    predicted, actual, _ = _draw(0.8)
    random = np.random.default_rng(0)
    began = time.perf_counter()
    data = (predicted, actual)
    scipys(data, macro_f1, paired=True, n_resamples=n_resamples, method="percentile", rng=random)
    return (time.perf_counter() - began) * PARAMS.n_resamples / n_resamples


def _numpy_f1(predicted: np.ndarray, actual: np.ndarray) -> float:
    hits = np.bincount(actual[predicted == actual], minlength=LABELS)
    rows = np.bincount(actual, minlength=LABELS)
    f1 = 2 * hits / np.maximum(rows + np.bincount(predicted, minlength=LABELS), 1)
    return float(f1[rows > 0].mean())


def _sklearn_f1(predicted: np.ndarray, actual: np.ndarray) -> float:
    from sklearn.metrics import f1_score

    return float(f1_score(actual, predicted, average="macro", zero_division=0))


PROGRAMS: dict[str, Callable[[], float]] = {
    OURS: _ours,
    PAIRED: _paired,
    SCIPY: lambda: _scipys(_numpy_f1, PARAMS.n_resamples),
    SKLEARN: lambda: _scipys(_sklearn_f1, PARAMS.n_resamples // PART),
}

if __name__ == "__main__":
    seconds = PROGRAMS[sys.argv[1]]()
    print(json.dumps({"seconds": seconds, "processor": time.process_time(), "MiB": peak()}))
