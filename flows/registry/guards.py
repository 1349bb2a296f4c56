"""Why a candidate is held although it is better as a whole: what the headline does not see."""

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from tasks.shared.measured import Measured
from tasks.shared.params import Promote
from tasks.shared.statistics import BINS, Statistic, take, values
from tasks.shared.verdict import number

CALIBRATION = "calibration_error"
# two numbers, of `candidate` and `other`, where they are known
Both = Mapping[str, float]


def worse_slices(slices: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return which slices are shown to be worse than the margin."""
    said = []
    for row in slices:
        if row["decision"] == "worse":
            numbers = f"{number(row['difference'], '+')} on {row['rows']} rows"
            said.append(f"it is shown to be worse where {row['slice']} is {row['value']} ({numbers})")
    return said


def overconfidence(mine: Measured, other: Measured) -> Both:
    """Return of both models how much surer they are than right: that part of the calibration error.

    Nothing where rows have no confidence. Who is right more often than it says does no harm to those who act
    on what it says, and better models that were trained for fewer steps are like that.
    """
    both = {"candidate": mine, "other": other}
    if not all(CALIBRATION in its.statistics for its in both.values()):
        return {}
    found = {name: _overconfidence(its.statistics[CALIBRATION]) for name, its in both.items()}
    return found if all(map(math.isfinite, found.values())) else {}


def _overconfidence(sure: Statistic) -> float:
    """Return the root mean square by bins, as the calibration error is, of the bins that say too much."""
    confidence = sure.columns["confidence"].to_numpy()
    bins = np.minimum((confidence * BINS).astype(int), BINS - 1)
    beyond = np.bincount(bins, confidence - sure.columns["correct"].to_numpy(), BINS) > 0
    rows = np.flatnonzero(beyond[bins])
    if not len(rows):
        return 0.0
    share = len(rows) / len(bins)
    return values(take({CALIBRATION: sure}, rows))[CALIBRATION] * math.sqrt(share)


def held(promote: Promote, sure: Both, unknown: Both, megabytes: Both) -> list[str]:
    """Return what is worse than promote allows: overconfidence, tokens that are not known, size."""
    said = []
    rise = _rise(sure)
    if rise > promote.max_calibration_rise:
        limit = f"promote.max_calibration_rise {promote.max_calibration_rise:g}"
        said.append(f"it is surer than it is right by {number(rise)} more ({limit})")
    rise = _rise(unknown)
    if rise > promote.max_unknown_rise:
        shares = f"{unknown['candidate']:.1%} of the test rows' tokens instead of {unknown['other']:.1%}"
        limit = f"promote.max_unknown_rise {promote.max_unknown_rise:g}"
        said.append(f"its tokenizer does not know {shares} ({limit})")
    if _ratio(megabytes) > promote.max_size_ratio:
        numbers = f"{megabytes['candidate']:.1f} MB instead of {megabytes['other']:.1f} MB"
        said.append(
            f"its package is too large ({numbers}, promote.max_size_ratio {promote.max_size_ratio:g})"
        )
    return said


def too_slow(promote: Promote, milliseconds: Both) -> list[str]:
    """Return that a candidate takes too long to answer a row, if it does."""
    limit = promote.max_latency_ratio
    if limit is None or _ratio(milliseconds) <= limit:
        return []
    numbers = f"{milliseconds['candidate']:.1f} ms for a row instead of {milliseconds['other']:.1f} ms"
    return [f"it is too slow ({numbers}, promote.max_latency_ratio {limit:g})"]


def _rise(both: Both) -> float:
    return both["candidate"] - both["other"] if {"candidate", "other"} <= both.keys() else 0.0


def _ratio(both: Both) -> float:
    is_known = {"candidate", "other"} <= both.keys() and both["other"] > 0
    return both["candidate"] / both["other"] if is_known else 0.0
