"""A stage of dvc.yaml as a Prefect task: left alone, restored, or run in a process, its progress shown."""

import logging
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial, wraps
from typing import Any, ParamSpec, TypeVar

import httpx
from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.logging import get_run_logger
from prefect.states import Cancelled, Completed, Failed
from tqdm import tqdm

from flows.engine.processes import Message, Processes, StageFailedError
from flows.engine.progress_artifact import ProgressArtifact
from flows.engine.pruning import PRUNED, Bounds, PrunedError, check, forget
from flows.engine.workspace import Workspace
from flows.ledger.results import Result, why
from tasks.shared import costs
from tasks.shared.costs import Cost
from tasks.shared.errors import InputError, disk_in_words

# seconds between updates of a progress artifact
EVERY = 2.0
FAILED = "Task run failed with state:"
# its message stands in the state too, which is logged next
logging.getLogger("prefect.task_runs").addFilter(lambda record: not record.getMessage().startswith(FAILED))
WORDS = {
    Result.unchanged: "nothing that it depends on has changed",
    Result.restored: "restored from the DVC cache",
}


Parameters = ParamSpec("Parameters")
Returned = TypeVar("Returned")


def fails_in_words(work: Callable[Parameters, Returned]) -> Callable[Parameters, Returned | State[None]]:
    """Have a flow or task end as Failed, with one sentence, when a stage, user or disk is the cause.

    As Pruned, which is a way of being cancelled, when its scores are the cause.
    """

    @wraps(work)
    def done(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Returned | State[None]:
        try:
            with disk_in_words():
                return work(*args, **kwargs)
        except PrunedError as error:
            return Cancelled(name=PRUNED, message=why(error))
        except InputError as error:
            return Failed(message=why(error))

    return done


@dataclass
class Run:
    """One execution of the flow: the stages that are up to date by now, and what the next ones need.

    bounds: where training ends before its time.
    """

    space: Workspace
    processes: Processes
    bounds: Bounds | None = None
    results: dict[str, Result] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    costs: dict[str, Cost] = field(default_factory=dict)

    def stage(self, name: str, *after: State[Any]) -> State[Any]:
        """Run or restore a stage once those before it are done; raise StageFailedError when it fails.

        Raises PrunedError when training ends before its time.
        """
        named = run_or_restore.with_options(name=name, task_run_name=name)
        state: State[Any] = named(name, self, wait_for=list(after), return_state=True)
        if state.name == PRUNED:
            raise PrunedError(state.message or PRUNED)
        if state.is_failed() or state.is_crashed():
            raise StageFailedError(state.message or f"{name} failed")
        return state


@task(persist_result=False, cache_policy=NO_CACHE, retries=0)
@fails_in_words
def run_or_restore(name: str, run: Run) -> State[None]:
    """Leave, restore or run a stage; Prefect shows the first two as Cached."""
    began = time.monotonic()
    result = Result.unchanged
    if not run.space.found_unchanged:
        ledger = run.space.ledger
        command = ledger.command(name)
        result = ledger.run_or_restore(name, partial(_compute, name, command, run))
    run.results[name] = result
    run.seconds[name] = time.monotonic() - began
    if result == Result.ran:
        return Completed(message=f"ran in {run.seconds[name]:.1f} s")
    get_run_logger().info("%s: %s", name, WORDS[result])
    return Completed(name="Cached", message=WORDS[result])


def _compute(name: str, command: str, run: Run) -> None:
    """Run a stage's command, and keep what it says that it took."""
    cost = show_running(name, command, run.processes, run.bounds)
    if cost is not None:
        run.costs[name] = cost


def show_running(name: str, command: str, processes: Processes, bounds: Bounds | None = None) -> Cost | None:
    """Run a stage's command in a process of its own, its output in the log and its progress shown.

    Returns what it says that it took. Raises StageFailedError when it fails, PrunedError when its scores on
    validation are out of bounds.
    """
    log = get_run_logger()
    log.info("running: %s", command)
    shown = Shown(name, bounds)
    try:
        processes.run(command, log.info, shown.update)
    except PrunedError:
        if shown.checkpoints:
            forget(processes.root / shown.checkpoints)
        raise
    finally:
        shown.close()
    return shown.cost


class Shown:
    """A stage's progress as people see it: an artifact in the UI, a bar on a terminal."""

    def __init__(self, name: str, bounds: Bounds | None = None) -> None:
        self.bounds = bounds
        self.artifact = ProgressArtifact(f"{name}-progress")
        self.told = 0.0
        self.bar: Any = None
        # what the stage says at its end
        self.cost: Cost | None = None
        self.checkpoints = ""

    def update(self, message: Message) -> None:
        """Show how far the stage is, its numbers, and the time left; raise PrunedError where it is to end."""
        if "cost" in message:
            self.cost = costs.told(message["cost"])
        self.checkpoints = message.get("checkpoints", self.checkpoints)
        if self.bounds is not None and "evaluations" in message:
            # what no server can be told now is held against the bounds again with the next message
            with suppress(httpx.TransportError):
                check(self.bounds, message["evaluations"], message["steps"])
        if "done" not in message:
            return
        numbers = dict(message)
        what, unit, done, total, left = (
            numbers.pop(key) for key in ("what", "unit", "done", "total", "seconds_left")
        )
        words = {name: f"{value:.4g}" for name, value in numbers.items()}
        if sys.stderr.isatty():
            self._draw_bar(what, unit, done, total, words)
        if time.monotonic() - self.told >= EVERY or done >= total:
            self.told = time.monotonic()
            told = [f"{what}: {unit} {done} of {total}", *map(" ".join, words.items()), f"{left:.0f} s left"]
            self.artifact.show(100 * done / total, ", ".join(told))

    def _draw_bar(self, what: str, unit: str, done: int, total: int, words: dict[str, str]) -> None:
        if self.bar is None or self.bar.desc != f"{what}: ":
            self.close()
            self.bar = tqdm(total=total, initial=done, desc=what, unit=unit, leave=False)
        self.bar.set_postfix(words, refresh=False)
        self.bar.update(done - self.bar.n)

    def close(self) -> None:
        """Take the bar off the terminal."""
        if self.bar is not None:
            self.bar.close()
            self.bar = None
