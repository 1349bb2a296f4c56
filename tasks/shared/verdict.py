"""How two scores compare, as far as their intervals can tell. Knows nothing of the model or the test rows."""

import math
from enum import StrEnum
from typing import Any

HEADLINE = "macro_f1"


class Verdict(StrEnum):
    """What can be said of a score beside another, as the words before the other's name."""

    better = "Better than"
    worse = "Worse than"
    equal = "As good as"
    unknown = "Not shown to be better or worse than"
    incomparable = "Not comparable with"


def judge(score: float, interval: list[float], other: float, its_interval: list[float]) -> Verdict:
    """Compare a score with another: better or worse only where the intervals (low, high) lie apart; nothing compares with NaN."""
    if not all(math.isfinite(value) for value in (score, *interval, other, *its_interval)):
        return Verdict.incomparable
    if score == other:
        return Verdict.equal
    (low, high), (its_low, its_high) = interval, its_interval
    if low > its_high:
        return Verdict.better
    return Verdict.worse if high < its_low else Verdict.unknown


def beside_baselines(scores: dict[str, Any]) -> tuple[str, str]:
    """Return the verdict on test scores beside their best baseline, and the numbers that it rests on.

    scores: what metrics/evaluate.json holds. A baseline has no interval of its own.
    """
    mine = f"macro F1 {scores[HEADLINE]:.4f} ({spelled(scores['interval'][HEADLINE])})"
    floors = {name: baseline[HEADLINE] for name, baseline in scores["baselines"].items()}
    known = {name: floor for name, floor in floors.items() if math.isfinite(floor)}
    if not known:
        return "Not comparable with any baseline", mine
    best = max(known, key=lambda name: known[name])
    verdict = judge(scores[HEADLINE], scores["interval"][HEADLINE], known[best], [known[best]] * 2)
    return f"{verdict} the {best} baseline", f"{mine} against {known[best]:.4f}"


def spelled(interval: list[float]) -> str:
    """Return an interval in words."""
    low, high = interval
    return f"{low:.4f} to {high:.4f}"
