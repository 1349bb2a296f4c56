"""`python -m tests.support.coverage`: how often the interval of the calibration error holds the true one.

Data sets are drawn from models whose calibration is known: the confidence is 0.1 + 0.9 Beta(a, b), and right is a row
with the probability that the confidence has after temperature scaling (1: as sure as it is right). The true figure is that of
the same 15 bins over a million rows.
"""

import argparse
from typing import NamedTuple

import numpy as np

from tasks.shared.bootstrap import bootstrap
from tasks.shared.params import Evaluate
from tasks.shared.statistics import BINS, classification

# sure of most rows, of many, of as many as not
SURENESS = {"sharp": (8, 0.6), "middling": (4, 1.2), "flat": (1, 1)}
TEMPERATURES = (1, 1.15, 1.5, 3)
ROWS = (100, 300, 1000, 5000)
MANY = 1_000_000


class Covered(NamedTuple):
    """What some simulated data sets of one kind gave."""

    # the figure that all rows of the world would give, and the mean of those that were computed
    true: float
    mean: float
    # shares of the intervals: those that hold the true figure, those wholly above it, and wholly below it
    inside: float
    above: float
    below: float


def draw(
    random: np.random.Generator,
    rows: int,
    sureness: str,
    temperature: float,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the confidence (n,) of some rows, and the probability (n,) that they are right."""
    confidence = 0.1 + 0.9 * random.beta(*SURENESS[sureness], rows)
    odds = np.log(np.clip(confidence, 1e-9, 1 - 1e-9)) - np.log(np.clip(1 - confidence, 1e-9, 1))
    return confidence, 1 / (1 + np.exp(-odds / temperature))


def true_error(sureness: str, temperature: float) -> float:
    """Return the root mean square, over rows, of accuracy - confidence in the row's bin."""
    confidence, right = draw(np.random.default_rng(0), MANY, sureness, temperature)
    bins = np.minimum((confidence * BINS).astype(int), BINS - 1)
    rows = np.bincount(bins, minlength=BINS)
    residual = np.bincount(bins, right - confidence, BINS) / np.maximum(rows, 1)
    return float(np.sqrt((rows * residual**2).sum() / MANY))


def covered(sureness: str, temperature: float, rows: int, data_sets: int, params: Evaluate) -> Covered:
    """Draw data sets, and see where their intervals lie."""
    random = np.random.default_rng(rows)
    true = 0.0 if temperature == 1 else true_error(sureness, temperature)
    found = []
    for seed in range(data_sets):
        confidence, right = draw(random, rows, sureness, temperature)
        # label 0 is always true, so that it is predicted where the row is right
        predicted, actual = (random.random(rows) >= right).astype(int), np.zeros(rows, int)
        statistics = classification(predicted, actual, ["right", "wrong"], confidence)
        only = {"calibration_error": statistics["calibration_error"]}
        found.append(bootstrap(only, params.model_copy(update={"seed": seed}))["calibration_error"])
    value, low, high = np.array(found).T
    above, below = float((low > true).mean()), float((high < true).mean())
    return Covered(true, float(value.mean()), 1 - above - below, above, below)


def main() -> None:
    """Print a line for each kind of data set."""
    parser = argparse.ArgumentParser(prog="python -m tests.support.coverage", description=__doc__)
    parser.add_argument("--data-sets", type=int, default=400, help="of each kind (default: %(default)s)")
    parser.add_argument("--resamples", type=int, default=400, help="of each (default: %(default)s)")
    given = parser.parse_args()
    params = Evaluate(n_resamples=given.resamples)
    print("| confidence | temperature | rows | true | mean | inside | above | below |")
    print(f"|---|{'---:|' * 7}")
    for sureness in SURENESS:
        for temperature in TEMPERATURES:
            for rows in ROWS:
                it = covered(sureness, temperature, rows, given.data_sets, params)
                figures = f"{it.true:.4f} | {it.mean:.4f} | {it.inside:.1%} | {it.above:.1%} | {it.below:.1%}"
                print(f"| {sureness} | {temperature} | {rows} | {figures} |", flush=True)


if __name__ == "__main__":
    main()
