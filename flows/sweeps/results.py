"""What a sweep has found: each trial and its score on validation, and the best, which is one candidate."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from tasks.shared.params_file import word
from tasks.shared.verdict import number


@dataclass(frozen=True)
class Tried:
    """A trial: what it tried, by the params' whole names, and what came of it.

    state: done, pruned, failed or running. score: of the best checkpoint on validation. experiment, commit:
    where its model is. why: it failed or was pruned. curve: the score at each of its evaluations.
    """

    number: int
    state: str
    params: Mapping[str, Any]
    score: float | None = None
    experiment: str | None = None
    commit: str | None = None
    seconds: float | None = None
    why: str | None = None
    curve: Sequence[float] = ()

    @property
    def words(self) -> str:
        """What it tried, as people type it: train.learning_rate 2.31e-5, train.num_train_epochs 3.0."""
        return ", ".join(f"{param} {shown(value)}" for param, value in self.params.items())


@dataclass(frozen=True)
class Sweep:
    """All trials of a sweep by their numbers. metric: on validation. asked: how many trials were asked for.

    search: what was searched, as it is typed. importance: each param's share of how scores differ.
    outcome: what became of the best, where promote.when asks for a decision.
    """

    name: str
    metric: str
    higher_is_better: bool
    asked: int
    search: Sequence[str]
    tried: Sequence[Tried] = ()
    importance: Mapping[str, float] = field(default_factory=dict)
    outcome: str | None = None

    @property
    def done(self) -> list[Tried]:
        """The trials that have a score."""
        return [trial for trial in self.tried if trial.score is not None]

    @property
    def best(self) -> Tried | None:
        """The trial with the best score; of equal ones the first. None: there is no score yet."""
        sign = 1 if self.higher_is_better else -1
        return max(self.done, key=lambda trial: (sign * (trial.score or 0.0), -trial.number), default=None)

    @property
    def sentence(self) -> str:
        """What was found, in a line."""
        told = f"{len(self.done)} of {self.asked} trials done"
        for state in ("pruned", "failed"):
            num = sum(trial.state == state for trial in self.tried)
            told += f", {num} {state}" if num else ""
        best = self.best
        if best is None or best.score is None:
            return f"{told}; none has a score"
        score = f"{self.metric} {number(best.score)} on validation"
        where = f"trial {best.number}, experiment {best.experiment}"
        return f"{told}; the best has {score}: {best.words} ({where})"

    @property
    def todo(self) -> str:
        """What to do next, in a line."""
        if self.best is None:
            return "Mend what failed, and run the same again under another --name."
        if self.outcome is not None:
            return self.outcome
        command = f"retrain promote {shlex.quote(str(self.best.experiment))}"
        return (
            "The best of many is chosen by chance too: whether it is better is shown on test rows alone, "
            f"in one look: `{command}`"
        )

    def to_dict(self) -> dict[str, Any]:
        """Return all of it, as JSON holds it."""
        best = self.best
        return {**asdict(self), "best": None if best is None else best.number}


def shown(value: Any) -> str:
    """Return a value as people read it: a number with three digits, 2.31e-5."""
    if isinstance(value, float):
        return f"{value:.3g}".replace("e-0", "e-")
    return word(value)
