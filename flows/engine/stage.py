"""A dvc.yaml stage as a Prefect task: left alone, restored, or run in a process of its own, with its logs and progress."""

import json
import logging
import sys
import time
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from prefect import task
from prefect.artifacts import create_progress_artifact, update_progress_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.logging import get_run_logger
from prefect.states import Completed, Failed
from tqdm import tqdm

from flows.engine.processes import Message, Processes, StageFailedError
from flows.engine.workspace import TOOK, Workspace, took
from flows.ledger.results import Outcome, why
from tasks.shared.errors import InputError, disk_in_words
from tasks.shared.files import replace

EVERY = 2.0  # seconds between updates of a progress artifact
# its message stands in the state too, which is logged next
logging.getLogger("prefect.task_runs").addFilter(lambda record: not record.getMessage().startswith("Task run failed with state:"))
WORDS = {
    Outcome.unchanged: "nothing that it depends on has changed",
    Outcome.restored: "restored from the DVC cache",
}


@dataclass
class Run:
    """One execution of the flow: the stages it has settled, and what it needs to settle the next."""

    space: Workspace
    processes: Processes
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)

    def stage(self, name: str, *after: State[Any]) -> State[Any]:
        """Settle a stage once those it comes `after` are; raise StageFailedError when it cannot be."""
        state: State[Any] = settle.with_options(name=name, task_run_name=name)(name, self, wait_for=list(after), return_state=True)
        if state.is_failed() or state.is_crashed():
            raise StageFailedError(state.message or f"{name} failed")
        return state

    def remember(self, name: str) -> None:
        """Keep how long a stage took, for `retrain plan`."""
        file = self.space.home / TOOK
        replace(file, json.dumps({**took(self.space.home), name: round(self.seconds[name], 1)}))


@task(persist_result=False, cache_policy=NO_CACHE, retries=0)
def settle(name: str, run: Run) -> State[None]:
    """Leave, restore or run a stage; Prefect shows the first two as Cached."""
    log = get_run_logger()
    began = time.monotonic()

    def compute() -> None:
        show_running(name, run.space.ledger.command(name), run.processes)

    try:
        with disk_in_words():
            outcome = Outcome.unchanged if run.space.nothing_to_do else run.space.ledger.settle(name, compute)
    except (StageFailedError, InputError) as error:
        return Failed(message=why(error))
    run.outcomes[name] = outcome
    run.seconds[name] = time.monotonic() - began
    if outcome == Outcome.ran:
        run.remember(name)
        return Completed(message=f"ran in {run.seconds[name]:.1f} s")
    log.info("%s: %s", name, WORDS[outcome])
    return Completed(name="Cached", message=WORDS[outcome])


def show_running(name: str, command: str, processes: Processes) -> None:
    """Run a stage's command in a process of its own, its output in the log and its progress shown; raise StageFailedError when it fails."""
    log = get_run_logger()
    log.info("running: %s", command)
    shown = Shown(name)
    try:
        processes.run(command, log.info, shown.update)
    finally:
        shown.close()


class Shown:
    """A stage's progress as people see it: an artifact in the UI, a bar on a terminal."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.artifact: UUID | None = None
        self.told = 0.0
        self.bar: Any = None

    def update(self, message: Message) -> None:
        """Show how far the stage is, its numbers, and the time left."""
        if "done" not in message:
            return
        message = dict(message)
        what, unit, done, total, left = (message.pop(key) for key in ("what", "unit", "done", "total", "seconds_left"))
        numbers = {name: f"{value:.4g}" for name, value in message.items()}
        if sys.stderr.isatty():
            if self.bar is None or self.bar.desc != f"{what}: ":
                self.close()
                self.bar = tqdm(total=total, initial=done, desc=what, unit=unit, leave=False)
            self.bar.set_postfix(numbers, refresh=False)
            self.bar.update(done - self.bar.n)
        if time.monotonic() - self.told < EVERY and done < total:
            return
        self.told = time.monotonic()
        words = [f"{what}: {unit} {done} of {total}", *(f"{name} {value}" for name, value in numbers.items()), f"{left:.0f} s left"]
        percent = 100 * done / total
        if self.artifact is None:
            artifact = create_progress_artifact(percent, key=f"{self.name}-progress", description=", ".join(words))
            self.artifact = artifact if isinstance(artifact, UUID) else None
        else:
            update_progress_artifact(self.artifact, progress=percent, description=", ".join(words))

    def close(self) -> None:
        """Take the bar off the terminal."""
        if self.bar is not None:
            self.bar.close()
            self.bar = None
