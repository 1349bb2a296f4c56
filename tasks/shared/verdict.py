"""What test scores say: which metrics there are, and how far their intervals tell one model from another."""

import math
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any, Literal

# what metrics/evaluate.json holds, or a part of it: `interval` is not there for a baseline
Scores = Mapping[str, Any]
# low and high
Interval = Sequence[float]
# what is smaller or larger is shown in powers of ten
SMALLEST, LARGEST = 1e-3, 1e6


class Verdict(StrEnum):
    """What can be said of a score beside another, as the words before the other's name."""

    better = "Better than"
    worse = "Worse than"
    equal = "As good as"
    unknown = "Not shown to be better or worse than"
    incomparable = "Not comparable with"


def judge(
    score: float,
    interval: Interval | None,
    other: float,
    its_interval: Interval | None,
    *,
    higher_is_better: bool = True,
) -> Verdict:
    """Compare a score with another: better or worse only where the intervals (low, high) lie apart.

    Of a score without an interval nothing can be shown, and nothing compares with NaN.
    """
    if not all(math.isfinite(value) for value in (score, *(interval or ()), other, *(its_interval or ()))):
        return Verdict.incomparable
    if score == other:
        return Verdict.equal
    if not interval or not its_interval:
        return Verdict.unknown
    (low, high), (its_low, its_high) = interval, its_interval
    if low <= its_high and high >= its_low:
        return Verdict.unknown
    return Verdict.better if (low > its_high) == higher_is_better else Verdict.worse


def beside(scores: Scores, other: Scores, *, is_baseline: bool = False) -> tuple[Verdict, str]:
    """Return the verdict on the headline of `scores` beside another model's, and the numbers it rests on.

    scores: what metrics/evaluate.json holds. A baseline has no interval: its score is taken as it is.
    """
    name, higher_is_better = headline(scores)
    its = score(other, name)
    its_interval = [its, its] if is_baseline else interval(other, name)
    mine, my_interval = score(scores, name), interval(scores, name)
    verdict = judge(mine, my_interval, its, its_interval, higher_is_better=higher_is_better)
    return verdict, f"{name} {with_interval(scores, name)} against {with_interval(other, name)}"


def beside_baselines(scores: Scores) -> tuple[str, str]:
    """Return the verdict on test scores beside their best baseline, and the numbers that it rests on."""
    best = best_baseline(scores)
    if best is None:
        name, _ = headline(scores)
        return "Not comparable with any baseline", f"{name} {with_interval(scores, name)}"
    verdict, numbers = beside(scores, scores["baselines"][best], is_baseline=True)
    return f"{verdict} the {best} baseline", numbers


def beside_champion(judged: Mapping[str, Any]) -> str | None:
    """Return how far a model is from the champion, by metrics/judge.json; None where there is none.

    That is no verdict: how much it proves depends on how often the test rows have been looked at.
    """
    if not judged.get("champion"):
        return None
    if judged.get("is_same"):
        return "It is the champion's own package"
    if not judged["rows"]:
        return "Not comparable with the champion: no test row is left that neither has seen in training"
    name = judged["headline"]["name"]
    its = difference_in_words(judged["difference"][name])
    return f"Beside the champion: {name} {its} on {judged['rows']} test rows"


def difference_in_words(its: Mapping[str, Any]) -> str:
    """Return a difference of metrics/judge.json with its interval, where it has one."""
    ends = f" ({number(its['low'], '+')} to {number(its['high'], '+')})" if "low" in its else ""
    return f"{number(its['value'], '+')}{ends}"


def best_baseline(scores: Scores) -> str | None:
    """Return the name of the baseline with the best headline; None where there is none with any."""
    name, higher_is_better = headline(scores)
    floors = {title: score(baseline, name) for title, baseline in scores["baselines"].items()}
    known = {title: floor for title, floor in floors.items() if math.isfinite(floor)}
    pick = max if higher_is_better else min
    return pick(known, key=lambda title: known[title]) if known else None


def headline(scores: Scores) -> tuple[str, bool]:
    """Return the name of the metric that leads the report, and whether a higher one is better."""
    return scores["headline"]["name"], scores["headline"]["higher_is_better"]


def metrics(scores: Scores) -> list[str]:
    """Return the names of all metrics in metrics/evaluate.json, the headline first."""
    first, _ = headline(scores)
    others = [name for name, value in scores.items() if isinstance(value, float) and name != first]
    return [first, *others]


def score(scores: Scores, name: str) -> float:
    """Return a score; NaN when there is none of this name."""
    value = scores.get(name)
    return value if isinstance(value, int | float) else math.nan


def interval(scores: Scores, name: str) -> Interval | None:
    """Return the interval of a score, low and high; None when it has none."""
    found: Interval | None = scores.get("interval", {}).get(name)
    return found


def number(value: float, sign: Literal["", "+"] = "") -> str:
    """Return a score in words: with four decimals, or four digits where those would hide it.

    sign: `+` is put before what is positive, too.
    """
    is_ordinary = value == 0 or SMALLEST <= abs(value) < LARGEST
    return f"{value:{sign}.4f}" if is_ordinary else f"{value:{sign}.4g}"


def spelled(ends: Interval) -> str:
    """Return an interval in words."""
    low, high = ends
    return f"{number(low)} to {number(high)}"


def with_interval(scores: Scores, name: str) -> str:
    """Return a score in words, with its interval if it has one."""
    ends = interval(scores, name)
    shown = number(score(scores, name))
    return f"{shown} ({spelled(ends)})" if ends else shown
