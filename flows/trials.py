"""The trials of a sweep, each a run of `retrain`: one after another here, or many by a deployment."""

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from prefect.client.schemas.objects import State

from flows.engine.pruning import PRUNED, curve
from flows.engine.run_name import ID_PART
from flows.git.remotes import UnreachableError
from flows.report.summary import Summary
from flows.retrain import retrain
from flows.server import deployed_runs, recovery
from flows.server.deployed_runs import Ended
from flows.sweeps.results import shown
from flows.sweeps.scores import NotSentError, scored
from flows.sweeps.space import nested
from flows.sweeps.study import COMMIT, EXPERIMENT, HELD, METRIC, SECONDS, Study
from tasks.shared.errors import InputError
from tasks.shared.params_file import Layer, together
from tasks.shared.say import Say
from tasks.shared.section import NONE
from tasks.shared.verdict import number as as_number

# seconds between looks at runs of a deployment
EVERY = 2.0
# seconds after which trials that no worker takes are told of
PATIENCE = 60.0
# trials that fail one after another, for the same reason: the others would too
SAME = 5
CHANGED = "data, code or params were changed while it ran, so that its trials cannot be compared"


class Runner(Protocol):
    """Where trials run. num: how many at once."""

    num: int

    def start(self, number: int, given: Mapping[str, Any], bounds: Mapping[str, Any] | None) -> None:
        """Start the run of a trial, or find the one that was started before.

        bounds: where it ends before its time, as `flows.engine.pruning.Bounds` has them; None: nowhere.
        """

    def ended(self) -> dict[int, Ended]:
        """Wait until some of the trials are over, and return how they ended."""


class Here:
    """One after another, each a run in this process."""

    num = 1

    def __init__(self, name: str) -> None:
        self.name = name
        self.next: dict[int, tuple[Mapping[str, Any], Mapping[str, Any] | None]] = {}

    def start(self, number: int, given: Mapping[str, Any], bounds: Mapping[str, Any] | None) -> None:
        """Have the trial be the next one."""
        self.next[number] = given, bounds

    def ended(self) -> dict[int, Ended]:
        """Run the trial."""
        number, (given, bounds) = self.next.popitem()
        began = time.monotonic()
        run: Any = retrain.with_options(flow_run_name=f"{self.name}-{number}")
        state: State[Any] = run(dict(given), bounds=bounds, return_state=True)
        its = (time.monotonic() - began, str(state.state_details.flow_run_id), str(state.name))
        if not state.is_completed():
            return {number: Ended(None, state.message or str(state.name), *its)}
        summary: Summary = state.result()
        kept = summary.saved.name if summary.saved else None
        return {number: Ended(kept, "it was not kept", *its)}


@dataclass
class Deployed:
    """Runs of a deployment, as many at once as `num`; they go on when the sweep is killed.

    identity: of the study, so that a trial has one run, however often the sweep is started.
    """

    deployment: str
    name: str
    identity: str
    num: int
    say: Say
    runs: dict[str, int] = field(default_factory=dict)

    def start(self, number: int, given: Mapping[str, Any], bounds: Mapping[str, Any] | None) -> None:
        """Start the run of a trial, or find it."""
        key = f"{self.identity}-{number}"
        its = {"params": given} if bounds is None else {"params": given, "bounds": bounds}
        run = deployed_runs.start(self.deployment, f"{self.name}-{number}", key, its)
        self.runs[run] = number

    def ended(self) -> dict[int, Ended]:
        """Look until some are over; one that crashed goes on from its checkpoint, unless it does again."""
        since, is_told = time.monotonic(), False
        while True:
            over = deployed_runs.ended(self.runs)
            if any(run.has_crashed for run in over.values()):
                recovery.restart_crashed_runs(self.say)
                over = deployed_runs.ended(self.runs)
            if over:
                return {self.runs.pop(run): how for run, how in over.items()}
            if not is_told and time.monotonic() - since > PATIENCE:
                is_told = True
                if not deployed_runs.under_way(self.runs):
                    more = "`retrain up --workers 2` starts another worker"
                    self.say(f"no worker of {self.deployment} has taken a trial yet: all are busy; {more}")
            time.sleep(EVERY)


@dataclass
class Trials:
    """Trials that are asked for, run and told until a budget is spent.

    budget: how many there are to be, those of earlier times included. until: when no more are begun, by
    time.monotonic. on_end: is called after each. warmup: the evaluations of a trial
    after which it ends early when it does worse than others; None: it never does.
    """

    study: Study
    runner: Runner
    checkout: Path
    fixed: Layer
    budget: int
    until: float
    say: Say
    on_end: Callable[[], None]
    warmup: int | None = None
    # why the last trials had no score, each without its own name
    failures: list[str] = field(default_factory=list)
    # those whose experiments had not been sent when they ended
    late: dict[int, Ended] = field(default_factory=dict)

    def run(self) -> None:
        """Run them all; those that a dead sweep has left come first, as they were."""
        left, running = self.study.under_way(), set[int]()
        while True:
            while len(running) < self.runner.num and (left or self._may_begin()):
                number = left.pop(0) if left else self.study.begin_next()
                running.add(number)
                self._start(number)
            if not running:
                break
            for number, ended in self.runner.ended().items():
                running.remove(number)
                self._tell(number, ended)
                self.on_end()
            self._look_again()
        self._look_again(is_last=True)

    def _may_begin(self) -> bool:
        is_hopeless = len(self.failures) >= SAME and len(set(self.failures[-SAME:])) == 1
        if is_hopeless:
            raise InputError(f"{SAME} trials in a row have failed: {self.failures[-1]}")
        return self.study.count() < self.budget and time.monotonic() < self.until

    def _start(self, number: int) -> None:
        tried = self.study.params(number)
        words = ", ".join(f"{param} {shown(value)}" for param, value in tried.items())
        self.say(f"trial {number}, {number + 1} of {self.budget}: {words}")
        its = Layer("trial", nested({param: _given(value) for param, value in tried.items()}))
        never = Layer("sweep", {"promote": {"when": "never"}})
        bounds = None if self.warmup is None else self.study.bounds(number, self.warmup)
        self.runner.start(number, together([self.fixed, its, never]), bounds)

    def _tell(self, number: int, ended: Ended) -> None:
        """Tell the study what came of a trial."""
        if ended.state == PRUNED:
            self.study.tell_pruned(number, curve(ended.run), ended.why, **{SECONDS: _seconds(ended)})
            self.failures.clear()
            self.say(f"trial {number} pruned: {ended.why}")
        elif ended.kept is None:
            self._fail(number, ended, ended.why)
        else:
            try:
                self._tell_score(number, ended, ended.kept)
            except NotSentError as error:
                self.late[number] = ended
                self.failures.append(self._reason(number, ended, str(error)))
                self.say(f"trial {number} is looked for again when another is over: {error}")

    def _look_again(self, *, is_last: bool = False) -> None:
        """Tell of late trials, whose experiments are sent with the next ones; is_last: they fail now."""
        for number, ended in [*self.late.items()]:
            try:
                self._tell_score(number, ended, str(ended.kept))
            except NotSentError as error:
                if not is_last:
                    continue
                self._fail(number, ended, str(error))
            del self.late[number]
            self.on_end()

    def _tell_score(self, number: int, ended: Ended, kept: str) -> None:
        """Tell the study what a trial has scored, or that it failed.

        Raises NotSentError when its experiment is not there, and InputError when nobody can say whether it
        is, or when it compares with no other: it stays under way, and the same command goes on with it.
        """
        try:
            its = scored(self.checkout, kept, self.study.params(number))
        except (NotSentError, UnreachableError):
            raise
        except InputError as error:
            # removed meanwhile: the next time it would not be there either
            self._fail(number, ended, str(error))
            return
        measure = [its.metric, its.higher_is_better]
        if not (self.study.agree(HELD, its.held) and self.study.agree(METRIC, measure)):
            raise InputError(f"{CHANGED}; change it back, or begin another sweep with --name")
        if its.score is None:
            self._fail(number, ended, f"{its.metric} is not defined on the validation rows")
            return
        told = {EXPERIMENT: kept, COMMIT: its.commit, SECONDS: _seconds(ended)}
        self.study.tell(number, its.score, its.curve, **told)
        self.failures.clear()
        score = f"{its.metric} {as_number(its.score)} on validation"
        self.say(f"trial {number}: {score}, experiment {kept}")

    def _fail(self, number: int, ended: Ended, why: str) -> None:
        self.study.tell_failed(number, why, **{SECONDS: _seconds(ended)})
        self.failures.append(self._reason(number, ended, why))
        self.say(f"trial {number} failed: {why}")

    def _reason(self, number: int, ended: Ended, why: str) -> str:
        """Return why a trial has no score, in words that are the same for another that fails alike."""
        for name in filter(None, (ended.kept, ended.run)):
            why = why.replace(name, "NAME")
        # a run whose name was taken has a part of its id behind it
        return re.sub(rf"\b{re.escape(self.study.name)}-{number}\b(-[0-9a-f]{{{ID_PART}}})?", "NAME", why)


def _seconds(ended: Ended) -> float:
    return round(ended.seconds, 1)


def _given(value: Any) -> Any:
    """Return a value as a run is given it: nothing is the word none."""
    return NONE if value is None else value
