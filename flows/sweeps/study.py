"""The study behind a sweep: what to try next (TPE, Bergstra et al. 2011), kept so that it outlives a kill.

Optuna's record of the trials is a SQLite file in the repository's ignored folder, or the PostgreSQL database
that RETRAIN_SWEEPS_URL names. All values of a trial are drawn at once, seeded by its number, and kept in one
transaction, so what is tried depends on the trials before it alone, not on who was killed meanwhile.
"""

import json
import os
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.importance import get_param_importances
from optuna.trial import FrozenTrial, TrialState, create_trial

from flows.sweeps.database import opened
from flows.sweeps.results import Sweep, Tried
from flows.sweeps.space import Choice, Searched, every, size, value_of
from tasks.shared.errors import InputError
from tasks.shared.params import Params
from tasks.shared.params_file import differences, word

# between the seeds of two trials
SEEDS = 1000
# how often what was tried already is drawn before it is tried again
DRAWS = 100
# params, and scores that differ, of which something can be compared
FEWEST = 2
# differences that a sentence names
FEW = 3
# trials that are done before one is pruned
STARTUP = 5
ENDED = {
    TrialState.COMPLETE: "done",
    TrialState.PRUNED: "pruned",
    TrialState.FAIL: "failed",
    TrialState.RUNNING: "running",
}
# attributes of the study: what it was begun with, what all trials have had in common, how scores compare
ASKED, HELD, METRIC = "asked", "held", "metric"
# of a trial: its score on validation, the experiment it is, how long it took, why it failed or was pruned
SCORE, EXPERIMENT, COMMIT, SECONDS, WHY = "score", "experiment", "commit", "seconds", "why"
# where it is pruned
BOUNDS = "bounds"


class Study:
    """The trials of one sweep.

    Optuna maximizes what it is told: the score, or minus the score where less is better.
    """

    def __init__(
        self,
        checkout: Path,
        name: str,
        space: Sequence[Searched],
        still_alone: Callable[[], None] = lambda: None,
    ) -> None:
        """Open the study of a name, or begin it; raise InputError when its database cannot be had.

        still_alone: raises InputError when another sweep of the name may be under way.
        """
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self.name, self.space, self.still_alone = name, space, still_alone
        self.study = opened(checkout, name)
        self.distributions = {one.param: _distribution(one) for one in space}
        # of what the search goes out from, what lies within it
        self.near: dict[str, Any] = {}
        # each trial that there can be, where they are few
        self.grid: list[dict[str, Any]] = []

    def begin(self, asked: Mapping[str, Any], present: Params, trials: int) -> int:
        """Note what the sweep is of; return how many trials it is to have, at most as many as are asked for.

        present: what of it is searched is tried first. trials: those of earlier times included; where no more
        different ones than these can be, each is tried once. Raises InputError when the sweep was begun with
        something else.
        """
        text = json.loads(json.dumps(asked))
        if not self.agree(ASKED, text):
            other = "; ".join(_differences(self._attribute(ASKED), text))
            raise InputError(
                f"sweep '{self.name}' was begun with something else ({other}); give it another --name"
            )
        values = {one.param: value_of(present, one.param) for one in self.space}
        self.near = {one.param: values[one.param] for one in self.space if one.holds(values[one.param])}
        if size(self.space) > trials:
            return trials
        self.grid = sorted(every(self.space), key=lambda some: some != self.near)
        return min(trials, self.count() + len(self._untried()))

    def under_way(self) -> list[int]:
        """Return the numbers of the trials that a dead sweep has left: they are done first, as they are."""
        return [trial.number for trial in self._trials(TrialState.RUNNING)]

    def count(self) -> int:
        """Return how many trials have been begun."""
        return len(self._trials(*ENDED))

    def begin_next(self) -> int:
        """Begin a trial; return its number. A kill leaves it with all its values, or none of it."""
        self.still_alone()
        number, untried = len(self.study.get_trials(deepcopy=False)), self._untried()
        params = untried[0] if untried else self._drawn(number)
        its = create_trial(state=TrialState.RUNNING, params=params, distributions=self.distributions)
        self.study.add_trial(its)
        return number

    def _untried(self) -> list[dict[str, Any]]:
        """Return what of the grid is not tried yet."""
        tried = self._tried()
        return [some for some in self.grid if self._key(some) not in tried]

    def _drawn(self, number: int) -> dict[str, Any]:
        """Return the values of a trial, drawn beside the study: what a sampler notes there is not kept."""
        beside = optuna.create_study(direction="maximize", sampler=_sampler(SEEDS * number))
        beside.add_trials(self._trials(*ENDED))
        if number == 0 and self.near:
            # what lies outside is drawn
            beside.enqueue_trial(self.near)
        tried = self._tried()
        for _ in range(DRAWS):
            params = beside.ask(self.distributions).params
            if self._key(params) not in tried:
                break
        return params

    def _tried(self) -> set[tuple[str, ...]]:
        return {self._key(trial.params) for trial in self._trials(*ENDED)}

    def _key(self, params: Mapping[str, Any]) -> tuple[str, ...]:
        """Return what tells values apart: to Python 1, 1.0 and True are equal."""
        return tuple(repr(params[one.param]) for one in self.space)

    def params(self, number: int) -> dict[str, Any]:
        """Return what a trial tries, by the whole names of params."""
        its = self._frozen(number).params
        return {one.param: its[one.param] for one in self.space}

    def bounds(self, number: int, warmup: int) -> dict[str, Any] | None:
        """Return where a trial is pruned, as `flows.engine.pruning.Bounds` has it; None: nowhere.

        warmup: the evaluations of a trial at which it is not.

        The rule is that of Optuna's MedianPruner: it ends when its best score so far is worse than the median
        of what the trials that were done when it began had at the same evaluation. What is said first holds,
        also after a kill, so that it does not depend on who is done meanwhile.
        """
        trial = self._trial(number)
        if BOUNDS not in trial.user_attrs:
            done = [one.intermediate_values for one in self._trials(TrialState.COMPLETE)]
            steps = max((len(curve) for curve in done), default=0) if len(done) >= STARTUP else 0
            reach = [None if step <= warmup else _median(done, step) for step in range(1, steps + 1)]
            metric, higher = self._attribute(METRIC) or ("", True)
            signed = [None if bound is None else self._sign * bound for bound in reach]
            its = {"metric": metric, "higher_is_better": higher, "reach": signed}
            trial.set_user_attr(BOUNDS, its if any(bound is not None for bound in reach) else None)
        found: dict[str, Any] | None = self._trial(number).user_attrs[BOUNDS]
        return found

    def tell(self, number: int, score: float, curve: Sequence[float], **told: Any) -> None:
        """End a trial with its score on validation, when METRIC is agreed.

        curve: the scores on the way, an evaluation each. told: EXPERIMENT, COMMIT, SECONDS.
        """
        self._note(number, {SCORE: score, **told})
        self._report(number, curve)
        self.study.tell(number, self._sign * score, skip_if_finished=True)

    def tell_pruned(self, number: int, curve: Sequence[float], why: str, **told: Any) -> None:
        """End a trial that was pruned. curve: its scores until then."""
        self._note(number, {WHY: why, **told})
        self._report(number, curve)
        self.study.tell(number, state=TrialState.PRUNED, skip_if_finished=True)

    def tell_failed(self, number: int, why: str, **told: Any) -> None:
        """End a trial that has no score."""
        self._note(number, {WHY: why, **told})
        self.study.tell(number, state=TrialState.FAIL, skip_if_finished=True)

    @property
    def _sign(self) -> int:
        """What a score is multiplied with, so that more is better."""
        _, higher_is_better = self._attribute(METRIC) or ("", True)
        return 1 if higher_is_better else -1

    def _report(self, number: int, curve: Sequence[float]) -> None:
        """Report scores by the number of the evaluation, from 1; again, where a kill came between, none."""
        known = self._frozen(number).intermediate_values
        for step, score in enumerate(curve, 1):
            if step not in known:
                self._trial(number).report(self._sign * score, step)

    def agree(self, key: str, value: Any) -> bool:
        """Return whether all trials have had this in common; the first one decides."""
        known, text = self._attribute(key), json.loads(json.dumps(value))
        if known is None:
            self.study.set_user_attr(key, text)
        return known is None or known == text

    @property
    def identity(self) -> str:
        """What tells it from another study of its name, also from one that was removed."""
        began = self._attribute("began")
        if began is None:
            began = os.urandom(4).hex()
            self.study.set_user_attr("began", began)
        return f"{self.name}-{began}"

    def result(self, trials: int) -> Sweep:
        """Return what has come of it; trials: how many were asked for."""
        metric, higher = self._attribute(METRIC) or ("score", True)
        tried = [
            Tried(
                number=trial.number,
                state=ENDED[trial.state],
                params=dict(trial.params),
                score=trial.user_attrs.get(SCORE),
                experiment=trial.user_attrs.get(EXPERIMENT),
                commit=trial.user_attrs.get(COMMIT),
                seconds=trial.user_attrs.get(SECONDS),
                why=trial.user_attrs.get(WHY),
                curve=[self._sign * score for _, score in sorted(trial.intermediate_values.items())],
            )
            for trial in self._trials(*ENDED)
        ]
        search = [str(one) for one in self.space]
        return Sweep(self.name, metric, higher, trials, search, tried, self._importance())

    def _importance(self) -> dict[str, float]:
        """Return which share of how scores differ each param has (PED-ANOVA); nothing of too few trials."""
        done = self._trials(TrialState.COMPLETE)
        if min(len(self.space), len({trial.value for trial in done})) < FEWEST:
            return {}
        try:
            return {name: float(share) for name, share in get_param_importances(self.study).items()}
        except (ValueError, RuntimeError):
            # too few of them differ
            return {}

    def _trials(self, *states: TrialState) -> list[FrozenTrial]:
        return self.study.get_trials(deepcopy=False, states=states)

    def _note(self, number: int, told: Mapping[str, Any]) -> None:
        trial = self._trial(number)
        for key, value in told.items():
            trial.set_user_attr(key, value)

    def _trial(self, number: int) -> optuna.Trial:
        # Optuna has no public way to go on with a trial
        return optuna.Trial(self.study, self._frozen(number)._trial_id)  # noqa: SLF001

    def _frozen(self, number: int) -> FrozenTrial:
        (frozen,) = (trial for trial in self._trials(*ENDED) if trial.number == number)
        return frozen

    def _attribute(self, key: str) -> Any:
        return self.study.user_attrs.get(key)


def _sampler(seed: int) -> optuna.samplers.TPESampler:
    # those that run beside it count as bad, so that not all try the same
    return optuna.samplers.TPESampler(seed=seed, constant_liar=True)


def _median(curves: Sequence[Mapping[int, float]], step: int) -> float | None:
    """Return the median of what some trials had at an evaluation; None where none has got there."""
    values = [curve[step] for curve in curves if step in curve]
    return statistics.median(values) if values else None


def _distribution(one: Searched) -> BaseDistribution:
    if isinstance(one, Choice):
        return CategoricalDistribution(one.values)
    if one.whole:
        return IntDistribution(int(one.low), int(one.high), log=one.is_log)
    return FloatDistribution(one.low, one.high, log=one.is_log)


def _differences(known: Mapping[str, Any], asked: Mapping[str, Any]) -> Iterable[str]:
    """Yield what a sweep was begun with that is not asked for now, in words, a few at most."""
    if known["search"] != asked["search"]:
        yield f"it searched {', '.join(known['search'])}"
    changed = differences(asked["params"], known["params"])
    for param, now, then in changed[:FEW]:
        yield f"{param} was {word(then)}, and is {word(now)} now"
