"""A sweep of eight trainings by two workers beside the same by one, each worker with one thread and one slot.

In one clone with the shipped model and the tickets, each sweep with a range and a weight decay of its own, so
that nothing is restored but what comes before training, which a run before them has left in the cache. Two
measures: from the first training's start to the last one's end, as the flow runs say, and the whole command.
"""

import json
from datetime import datetime
from typing import Any

from benchmarks.clones import fresh_clone, seconds
from benchmarks.measure import Options, Table, compare
from tests.support.site import up

REPEAT = 1
TRIALS = 8
ONE, TWO = "one worker", "two workers"
TARGET = "<= 0.62"


def measure(options: Options) -> list[Table]:
    """Return a table of both measures."""
    trials: dict[str, list[float]] = {ONE: [], TWO: []}
    commands: dict[str, list[float]] = {ONE: [], TWO: []}
    with fresh_clone() as project:
        # a device has as many slots as there are workers, and one thread is each one's
        project.env |= {"OMP_NUM_THREADS": "1"}
        fixed = ("--train.max-steps", str(options.steps))
        seconds(project, "flows", "run", "--isolated", *fixed)
        # a clone's schedules are paused once
        is_paused = False
        for turn in range(options.repeat or REPEAT):
            for workers, name in ((1, ONE), (2, TWO)):
                many: Any = {"RETRAIN_DEVICE_SLOTS": str(workers), "schedules": is_paused}
                is_paused = True
                with up(project, "--workers", str(workers), "--limit", "1", **many) as site:
                    # other trainings, also where all begin with the learning rate of params.yaml
                    own = ("--train.weight-decay", f"0.{turn + 1:02}{workers}")
                    search = f"1e-5:{5 + turn + workers / 10:.1f}e-4:log"
                    words = ("--train.learning-rate", search, "--trials", str(TRIALS), "--pruner", "none")
                    called = f"bench-{turn}-{workers}"
                    commands[name].append(
                        seconds(project, "flows", "sweep", *words, *fixed, *own, "--name", called)
                    )
                    trials[name].append(_between(site.runs("manual"), called))
    title = f"A sweep of {TRIALS} trainings of {options.steps} steps, a thread and a slot for each worker"
    return [
        compare(f"{title}: first start to last end", "s", trials, TWO, {ONE: TARGET}),
        compare(f"{title}: the whole command", "s", commands, TWO, {}),
    ]


def _between(runs: list[dict[str, Any]], called: str) -> float:
    """Return the seconds from the first start to the last end of a sweep's runs."""
    its = [run for run in runs if run["name"].startswith(f"{called}-")]
    assert len(its) == TRIALS, json.dumps(its)
    begun = min(datetime.fromisoformat(run["start_time"]) for run in its)
    return (max(datetime.fromisoformat(run["end_time"]) for run in its) - begun).total_seconds()
