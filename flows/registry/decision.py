"""Whether a candidate has proven that it may take the champion's place: one comparison, one sentence.

The stage `judge` has written what each test row adds to both models' metrics. What it takes to be proof
depends on how often these rows have been looked at (looks.py), and on the margin that params fix beforehand.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from flows.registry import guards, looks
from flows.registry.tags import Told
from tasks.shared import measured, paired
from tasks.shared.errors import InputError
from tasks.shared.measured import Measured
from tasks.shared.params import Promote
from tasks.shared.statistics import METRICS
from tasks.shared.verdict import number

CANDIDATE, OTHER = "candidate.arrow", "other.arrow"
Word = Literal["better", "worse", "equivalent", "inconclusive", "same", "not compared", "lost on validation"]


class Judged(BaseModel):
    """What metrics/judge.json must hold: whoever pushed a commit may have written anything there."""

    model_config = ConfigDict(extra="ignore", strict=True)

    champion: str | None = Field(pattern=r"^sha256:[0-9a-f]{64}$")
    baseline: Told | None = None
    is_same: bool = False
    rows: int = Field(ge=0)
    # the headline, where the rows do not define it for both
    undefined: Told | None = None
    headline: dict[str, Any] = Field(default_factory=dict)
    candidate: dict[str, float] = Field(default_factory=dict)
    other: dict[str, float] = Field(default_factory=dict)
    validation: dict[str, float] = Field(default_factory=dict)
    # of the test rows' tokens; of both or of none
    unknown_share: dict[str, float] = Field(default_factory=dict)

    @property
    def against(self) -> str:
        """Whom the candidate is compared with, as looks are counted."""
        return self.champion or f"baseline {self.baseline}"

    @property
    def opponent(self) -> str:
        """The same in words."""
        return "the champion" if self.champion else f"the {self.baseline} baseline"


@dataclass(frozen=True)
class Decision:
    """What can be said of a candidate beside the champion, and why it is held although it is better.

    evidence: the numbers that the verdict rests on, as they go into the tag. held: reasons, in sentences.
    is_new: whether the look that it took was taken just now; None where no test row was looked at.
    """

    verdict: Word
    sentence: str
    evidence: Mapping[str, Any] = field(default_factory=dict)
    held: tuple[str, ...] = ()
    is_new: bool | None = field(default=None, compare=False)

    def allows(self, when: str) -> bool:
        """Return whether that is proof enough for a policy (`promote.when`); to ask somebody takes it too."""
        enough = {"better", "equivalent"} if when == "better_or_equivalent" else {"better"}
        return self.verdict in enough and not self.held

    def lets_in(self, when: str, *, force: bool) -> bool:
        """Return whether it is promoted by hand, by a proof or by force; what serves already is not."""
        return self.verdict != "same" and (force or self.allows(when))

    def to_dict(self) -> dict[str, Any]:
        """Return all of it, as JSON holds it."""
        return asdict(self)


SAME = Decision("same", "It is the champion's own package: there is nothing to promote.")


@dataclass(frozen=True)
class Compared:
    """A candidate and what the stage judge has written of it.

    name: of the model in the registry. digest: of its package. folder: plots/judge. sizes: megabytes of both
    packages, by `candidate` and `other`, where they are known. latency: measures milliseconds likewise; None
    where there is no champion.
    """

    name: str
    digest: str
    judged: Judged
    folder: Path
    sizes: Mapping[str, float] = field(default_factory=dict)
    latency: Callable[[], Mapping[str, float]] | None = None


def judged(metrics: Mapping[str, Any]) -> Judged:
    """Return what metrics/judge.json says; raise InputError when it is something else."""
    try:
        return Judged.model_validate(dict(metrics))
    except ValidationError as error:
        wrong = error.errors()[0]
        place = ".".join(map(str, wrong["loc"]))
        raise InputError(f"metrics/judge.json: {place}: {wrong['msg']}; run `retrain run` again") from None


def decide(checkout: Path, of: Compared, promote: Promote) -> Decision:
    """Return what the comparison proves; it is a look at the test rows, one for the same two models."""
    its = of.judged
    against = its.opponent
    if its.is_same or its.champion == of.digest:
        return SAME
    if not its.rows:
        none = "no test row that neither model was trained or selected on is left to compare them on"
        if its.undefined:
            none = (
                f"{its.undefined} is not defined for both on the test rows that neither has seen in training"
            )
        return Decision("not compared", f"Not compared with {against}: {none}.")
    mine, other = its.validation.get("candidate"), its.validation.get("other")
    higher = bool(its.headline.get("higher_is_better", True))
    if mine is not None and other is not None and not _wins(mine, other, promote, higher=higher):
        numbers = f"{number(mine)} against {number(other)} on validation"
        lost = f"It does not do better than {against} where both were selected ({numbers})"
        return Decision(
            "lost on validation", f"{lost}, so no test row is looked at.", {"validation": its.validation}
        )
    return _looked_at(checkout, of, promote)


def _wins(mine: float, other: float, promote: Promote, *, higher: bool) -> bool:
    """Return whether a candidate is worth a look: better on validation, or no worse than what would do."""
    gain = mine - other if higher else other - mine
    return gain > (-promote.margin if promote.when == "better_or_equivalent" else 0)


def _looked_at(checkout: Path, of: Compared, promote: Promote) -> Decision:
    """Return the verdict at the level that is left for this look, which is taken now."""
    both = statistics(of)
    look = looks.take(checkout, of.name, of.digest, of.judged.against, both[0].ids)
    found = replace(at_look(of, both, promote, look), is_new=look.is_new)
    return _guarded(found, of, promote, guards.overconfidence(*both))


def statistics(of: Compared) -> tuple[Measured, Measured]:
    """Return what the same rows add to both models' metrics; raise InputError when it is something else."""
    mine, other = (measured.read(of.folder / name) for name in (CANDIDATE, OTHER))
    name = str(of.judged.headline.get("name"))
    if name not in mine.statistics or name not in other.statistics or not mine.ids.equals(other.ids):
        raise InputError(
            f"{of.folder}: it does not hold {name} of both models on the same rows; run judge again"
        )
    return mine, other


def at_look(of: Compared, both: tuple[Measured, Measured], promote: Promote, look: looks.Look) -> Decision:
    """Return what the statistics prove at a look, guards apart: the same whenever it is asked again."""
    mine, other = both
    name = str(of.judged.headline.get("name"))
    alpha = paired.alpha_of_look(look.number, promote.alpha)
    margin = paired.least_margin(promote.margin, promote.seed_deviation)
    one, two = mine.statistics[name], other.statistics[name]
    compared = paired.compare(one, two, 1 - alpha, mine.groups)
    first = paired.compare(one, two, 1 - paired.alpha_of_look(1, promote.alpha), mine.groups)
    higher = METRICS[one.metric].higher_is_better
    verdict = paired.verdict(compared, margin, higher_is_better=higher)
    slices = []
    if mine.slices.width:
        slices = paired.worse_slices(one, two, mine.slices, margin, alpha, mine.groups).to_dicts()
    evidence = {
        "metric": name,
        "rows": len(mine.ids),
        "candidate": of.judged.candidate.get(name),
        "other": of.judged.other.get(name),
        "against": of.judged.against,
        "difference": compared.value,
        "interval": [_finite(compared.low), _finite(compared.high)],
        "level": 1 - alpha,
        "method": compared.method,
        "margin": margin,
        "margin_is_of": "seeds" if margin > promote.margin else "params",
        "look": look.number,
        "new_rows": look.new_rows,
        "detectable": _finite(compared.detectable(margin)),
        "detectable_at_first": _finite(first.detectable(margin)),
        "slices": slices,
    }
    return Decision(verdict, _sentence(verdict, of.judged.opponent, evidence), evidence)


def _guarded(found: Decision, of: Compared, promote: Promote, sure: Mapping[str, float]) -> Decision:
    """Return the decision with what holds the candidate; how long it takes is measured if nothing else does.

    sure: how much surer both are than right.
    """
    said = guards.worse_slices(found.evidence["slices"])
    said += guards.held(promote, sure, of.judged.unknown_share, of.sizes)
    seen = {"overconfidence": sure, "unknown_share": of.judged.unknown_share, "megabytes": of.sizes}
    is_wanted = promote.max_latency_ratio is not None and found.allows(promote.when) and not said
    if is_wanted and of.latency is not None:
        seen["milliseconds"] = its = of.latency()
        said = guards.too_slow(promote, its)
    known = {name: dict(its) for name, its in seen.items() if its}
    return replace(found, evidence={**found.evidence, **known}, held=tuple(said))


def _finite(value: float) -> float | None:
    """Return a number as JSON holds it: None where nothing can be shown."""
    return value if math.isfinite(value) else None


def _sentence(verdict: str, against: str, its: Mapping[str, Any]) -> str:
    """Return the verdict and what it rests on, for people."""
    words = {
        "better": f"Better than {against}",
        "worse": f"Worse than {against}",
        "equivalent": f"As good as {against}",
        "inconclusive": f"Not shown to be better or worse than {against}",
    }
    low, high = its["interval"]
    ends = "no interval" if low is None or high is None else f"{number(low, '+')} to {number(high, '+')}"
    difference = f"{its['metric']} {number(its['difference'], '+')} ({ends})"
    of_seeds = " (seeds alone make as much)" if its["margin_is_of"] == "seeds" else ""
    seen = f"on {its['rows']} rows, margin {number(its['margin'])}{of_seeds}, look {its['look']}"
    power = "no difference could have been seen"
    if its["detectable"] is not None:
        power = f"a difference of {number(its['detectable'])} would have been seen in 80 % of cases"
    return f"{words[verdict]}: {difference} {seen}; {power}."
