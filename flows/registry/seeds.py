"""How far seeds alone move the headline: trainings that differ in `train.seed` and in nothing else."""

import math
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from statistics import stdev
from typing import Any

from tasks.shared.paired import least_margin

# trainings: of fewer, a deviation says nothing
LEAST, MOST = 5, 1000
LEVEL = 0.95


@dataclass(frozen=True)
class Spread:
    """The headline on the same test rows, by seed, and the experiments that have it.

    margin: `promote.margin`.
    """

    metric: str
    rows: int
    scores: Mapping[int, float]
    experiments: Mapping[int, str]
    margin: float

    @property
    def deviation(self) -> float:
        """The standard deviation over trainings, to four digits: `promote.seed_deviation`."""
        return float(f"{stdev(self.scores.values()):.4g}")

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % interval of the deviation where scores are normal (chi-square)."""
        from scipy.stats import chi2

        freedom, beyond = len(self.scores) - 1, (1 - LEVEL) / 2
        low, high = (math.sqrt(freedom / chi2.ppf(share, freedom)) for share in (1 - beyond, beyond))
        return low * self.deviation, high * self.deviation

    @property
    def least_margin(self) -> float:
        """The margin that is in force with this deviation."""
        return least_margin(self.margin, self.deviation)

    @property
    def sentence(self) -> str:
        """The deviation and what follows, in a line."""
        low, high = self.interval
        found = (
            f"{self.metric} has a standard deviation of {self.deviation:.4g} over {len(self.scores)} seeds"
        )
        ends = f"({LEVEL:.0%} interval {low:.4g} to {high:.4g}, {self.rows:,} test rows)"
        asks = f"so the margin is {self.least_margin:.4g} at least"
        if self.least_margin <= self.margin:
            asks = f"which asks for no more than promote.margin {self.margin:.4g}"
        return f"{found} {ends}, {asks}"

    def to_dict(self) -> dict[str, Any]:
        """Return all of it, as JSON holds it."""
        return {
            "metric": self.metric,
            "rows": self.rows,
            "scores": dict(self.scores),
            "experiments": dict(self.experiments),
            "deviation": self.deviation,
            "interval": list(self.interval),
            "margin": self.margin,
            "least_margin": self.least_margin,
        }


def but_for_seed(stages: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what decides a training and its scores but the seed, of what dvc.lock holds of a run's stages.

    Whatever else was changed between two runs is in what these read: data, code, params, pins.
    """
    train = deepcopy(stages["train"])
    train["params"]["params.yaml"]["train"].pop("seed")
    return {"deps": train["deps"], "params": train["params"], "evaluate": stages["evaluate"]["params"]}
