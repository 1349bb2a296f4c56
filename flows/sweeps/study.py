"""The study behind a sweep: what to try next (TPE, Bergstra et al. 2011), kept so that it outlives a kill.

Optuna's record of the trials is a SQLite file in the repository's ignored folder, or the PostgreSQL database
that RETRAIN_SWEEPS_URL names. Each value that is suggested has a seed of its own, the trial's number and the
param's place, so what is tried depends on the trials before it alone, not on who was killed meanwhile.
"""

import itertools
import json
import os
import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import optuna
from optuna.importance import get_param_importances
from optuna.trial import FrozenTrial, TrialState

from flows.sweeps.database import opened
from flows.sweeps.results import Sweep, Tried
from flows.sweeps.space import Choice, Range, Searched, size, value_of
from tasks.shared.errors import InputError
from tasks.shared.params import Params
from tasks.shared.params_file import differences, word

# values that one trial may have suggested, so that no two have one seed
PLACES = 1000
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

    def __init__(self, checkout: Path, name: str, space: Sequence[Searched]) -> None:
        """Open the study of a name, or begin it; raise InputError when its database cannot be had."""
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self.name, self.space = name, space
        self.study = opened(checkout, name)

    def begin(self, asked: Mapping[str, Any], present: Params) -> None:
        """Note what the sweep is of, and what is tried first: the present params, if they are searched.

        Raises InputError when it was begun with something else. Where there are no more different trials
        than values, all of them are tried, none twice.
        """
        known = self._attribute(ASKED)
        text = json.loads(json.dumps(asked))
        if known is not None and known != text:
            other = "; ".join(_differences(known, text))
            raise InputError(
                f"sweep '{self.name}' was begun with something else ({other}); give it another --name"
            )
        if known is None:
            values = {one.param: value_of(present, one.param) for one in self.space}
            near = {one.param: values[one.param] for one in self.space if one.holds(values[one.param])}
            if near:
                # what lies outside is suggested
                self.study.enqueue_trial(near, skip_if_exists=True)
            for some in self._every():
                self.study.enqueue_trial(some, skip_if_exists=True)
            # last: what was killed before is enqueued again
            self.study.set_user_attr(ASKED, text)

    def _every(self) -> Iterator[dict[str, Any]]:
        """Yield all trials that there can be, where they are few and each a choice."""
        if all(isinstance(one, Choice) for one in self.space) and size(self.space) <= PLACES:
            values = [one.values for one in self.space if isinstance(one, Choice)]
            for some in itertools.product(*values):
                yield dict(zip((one.param for one in self.space), some, strict=True))

    def under_way(self) -> list[int]:
        """Return the numbers of the trials that a dead sweep has left: they are done first, as they are."""
        return [trial.number for trial in self._trials(TrialState.RUNNING)]

    def count(self) -> int:
        """Return how many trials have been begun."""
        return len(self._trials(*ENDED))

    def begin_next(self) -> int:
        """Begin a trial; return its number."""
        return self.study.ask().number

    def params(self, number: int) -> dict[str, Any]:
        """Return what a trial that is under way tries, by the whole names of params.

        What was suggested before a kill stays as it is.
        """
        trial, found = self._trial(number), {}
        for place, one in enumerate(self.space):
            self.study.sampler = _sampler(number * PLACES + place)
            found[one.param] = _suggested(trial, one)
        return found

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
        every = self._trials(*ENDED)
        tried = [
            Tried(
                trial.number,
                ENDED[trial.state],
                dict(trial.params),
                trial.user_attrs.get(SCORE),
                trial.user_attrs.get(EXPERIMENT),
                trial.user_attrs.get(COMMIT),
                trial.user_attrs.get(SECONDS),
                trial.user_attrs.get(WHY),
                [self._sign * score for _, score in sorted(trial.intermediate_values.items())],
            )
            for trial in every
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


def _suggested(trial: optuna.Trial, one: Searched) -> Any:
    if isinstance(one, Range):
        if one.whole:
            return trial.suggest_int(one.param, int(one.low), int(one.high), log=one.is_log)
        return trial.suggest_float(one.param, one.low, one.high, log=one.is_log)
    return trial.suggest_categorical(one.param, one.values)


def _differences(known: Mapping[str, Any], asked: Mapping[str, Any]) -> Iterable[str]:
    """Yield what a sweep was begun with that is not asked for now, in words, a few at most."""
    if known["search"] != asked["search"]:
        yield f"it searched {', '.join(known['search'])}"
    changed = differences(asked["params"], known["params"])
    for param, now, then in changed[:FEW]:
        yield f"{param} was {word(then)}, and is {word(now)} now"
