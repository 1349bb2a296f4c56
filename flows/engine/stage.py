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
from flows.engine.workspace import SECONDS, Workspace, stage_seconds
from flows.ledger.results import Result, why
from tasks.shared.errors import InputError, disk_in_words
from tasks.shared.files import replace

EVERY = 2.0  # seconds between updates of a progress artifact
# its message stands in the state too, which is logged next
logging.getLogger("prefect.task_runs").addFilter(lambda record: not record.getMessage().startswith("Task run failed with state:"))
WORDS = {
    Result.unchanged: "nothing that it depends on has changed",
    Result.restored: "restored from the DVC cache",
}


@dataclass
class Run:
    """One execution of the flow: the stages it has brought up to date, and what it needs for the next."""

    space: Workspace
    processes: Processes
    results: dict[str, Result] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)

    def stage(self, name: str, *after: State[Any]) -> State[Any]:
        """Run or restore a stage once those it comes `after` are done; raise StageFailedError when it fails."""
        named = run_or_restore.with_options(name=name, task_run_name=name)
        state: State[Any] = named(name, self, wait_for=list(after), return_state=True)
        if state.is_failed() or state.is_crashed():
            raise StageFailedError(state.message or f"{name} failed")
        return state

    def record_seconds(self, name: str) -> None:
        """Keep how long a stage took, for `retrain plan`."""
        seconds = {**stage_seconds(self.space.home), name: round(self.seconds[name], 1)}
        replace(self.space.home / SECONDS, json.dumps(seconds))


@task(persist_result=False, cache_policy=NO_CACHE, retries=0)
def run_or_restore(name: str, run: Run) -> State[None]:
    """Leave, restore or run a stage; Prefect shows the first two as Cached."""
    log = get_run_logger()
    began = time.monotonic()

    def compute() -> None:
        show_running(name, run.space.ledger.command(name), run.processes)

    try:
        with disk_in_words():
            result = Result.unchanged if run.space.nothing_to_do else run.space.ledger.run_or_restore(name, compute)
    except (StageFailedError, InputError) as error:
        return Failed(message=why(error))
    run.results[name] = result
    run.seconds[name] = time.monotonic() - began
    if result == Result.ran:
        run.record_seconds(name)
        return Completed(message=f"ran in {run.seconds[name]:.1f} s")
    log.info("%s: %s", name, WORDS[result])
    return Completed(name="Cached", message=WORDS[result])


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
