"""Search params: many trainings, each chosen by what those before it scored on validation."""

import math
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.logging import get_run_logger
from prefect.states import Completed
from pydantic import Field

from flows.engine import worker
from flows.engine.form import form
from flows.engine.progress_artifact import ProgressArtifact
from flows.engine.stage import fails_in_words
from flows.engine.workspace import root
from flows.ledger.results import Experiment
from flows.registry import policy
from flows.report.run_report import told
from flows.report.sweep import publish
from flows.server import deployed_runs
from flows.sweeps import database
from flows.sweeps.asked import NOWHERE, USUAL, Asked, asked, refuse_other_flow
from flows.sweeps.budget import MINUTES, TRIALS
from flows.sweeps.results import Sweep
from flows.sweeps.study import Study
from flows.trials import Deployed, Here, Runner, Trials
from tasks.shared.errors import InputError
from tasks.shared.markup import plain
from tasks.shared.params_file import PARAMS, Layer, written_in
from tasks.shared.say import Say

if TYPE_CHECKING:
    from flows.engine.form import Given
else:
    Given = form(written_in(PARAMS))

Count = Annotated[int, Field(ge=1, le=TRIALS)]
Warmup = Annotated[int, Field(ge=0, le=TRIALS)]
Minutes = Annotated[float, Field(gt=0, le=MINUTES)]
Pruner = Literal["median", "none"]


@flow(name="sweep", persist_result=False)
@fails_in_words
def sweep(
    search: list[str],
    trials: Count = 20,
    timeout_minutes: Minutes | None = None,
    name: str = "",
    deployment: str = "",
    at_once: Count | None = None,
    pruner: Pruner = "median",
    warmup_evaluations: Warmup = 1,
    params: Given = Given(),  # noqa: B008 (a form)
) -> State[Sweep]:
    """Search params by trainings, each chosen by what those before it scored on validation.

    A sweep that was killed goes on where it was, when it is started with the same again. The best is one
    candidate for promotion, and promote.when is followed for it alone.

    Args:
        search: What to search, an item each: train.learning_rate=1e-5:5e-4:log for a range,
            train.num_train_epochs=3,5 for a choice.
        trials: How many trainings, those of earlier times included.
        timeout_minutes: Begin no more of them after so many minutes; empty: no limit.
        name: What the sweep and its runs are called; empty: by what is searched.
        deployment: What runs them; empty: retrain/manual where it has a worker; none: this run does.
        at_once: How many of them at once; empty: as many as the deployment's pool has workers.
        pruner: With median a training ends early when its best score so far is worse than the median of what
            those done before it, five or more, had at the same evaluation.
        warmup_evaluations: At how many of its first evaluations no training is ended so.
        params: What all of them have. A field left empty is what params.yaml says.
    """
    log = get_run_logger()
    refuse_other_flow(deployment)
    worker.attach()
    checkout = root()
    given = Layer("params", params.model_dump(mode="json"))
    its = asked(search, name, written_in(checkout / PARAMS), given)
    with database.alone(checkout, its.name) as still_alone, database.in_words(checkout, its.name):
        study = Study(checkout, its.name, its.space, still_alone)
        budget = study.begin(its.to_dict(), its.params, trials)
        show = partial(_show, ProgressArtifact("sweep-progress"), study, budget)
        show()
        Trials(
            study=study,
            runner=_runner(its.name, study, deployment, at_once, log.info),
            checkout=checkout,
            fixed=given,
            budget=budget,
            until=math.inf if timeout_minutes is None else time.monotonic() + 60 * timeout_minutes,
            say=log.info,
            on_end=show,
            warmup=warmup_evaluations if pruner == "median" else None,
        ).run()
        found = _followed(checkout, study.result(budget), its, log.info)
    publish(found, database.folder(checkout) / its.name)
    if found.best is None:
        raise InputError(f"{found.sentence}. {found.todo}")
    return Completed(message=f"{found.sentence}. {found.todo}", data=found)


def _runner(name: str, study: Study, deployment: str, at_once: int | None, say: Say) -> Runner:
    """Return where trials run: by a deployment with a worker, else in this process."""
    is_given = deployment not in ("", NOWHERE)
    wanted = deployment or USUAL
    workers = None if wanted == NOWHERE else deployed_runs.num_workers(wanted)
    if is_given and workers is None:
        raise InputError(f"there is no deployment '{wanted}'; `retrain up` registers {USUAL}")
    if not is_given and not workers:
        if at_once not in (None, 1):
            many = f"at_once {at_once}: without a worker trials run one after another"
            raise InputError(f"{many}; `retrain up` starts one, or leave it out")
        say("trials run here, one after another")
        return Here(name)
    num = at_once or max(1, workers or 0)
    say(f"trials run by {wanted}, {num} at once")
    return Deployed(wanted, name, study.identity, num, say)


def _followed(checkout: Path, found: Sweep, its: Asked, say: Say) -> Sweep:
    """Return a sweep with what became of its best model, where promote.when asks for a decision."""
    best = found.best
    if best is None or best.commit is None or its.params.promote.when == "never":
        return found
    saved = Experiment(str(best.experiment), best.commit, baseline="")
    outcome = policy.follow(checkout, saved, its.params.promote, say)
    if outcome is None:
        return found
    return replace(found, outcome=told(outcome, saved, its.params).sentence)


def _show(artifact: ProgressArtifact, study: Study, budget: int) -> None:
    """Show how many trials are over, and the best of them."""
    now = study.result(budget)
    over = sum(trial.state != "running" for trial in now.tried)
    artifact.show(min(100.0, 100 * over / budget), plain(now.sentence))
