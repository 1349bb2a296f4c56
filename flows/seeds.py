"""Measure what seeds alone make: train several times with other seeds, and nothing else that differs."""

import math
from pathlib import Path
from typing import Annotated, Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.logging import get_run_logger
from prefect.states import Completed
from pydantic import Field

from flows.engine import worker
from flows.engine.processes import StageFailedError
from flows.engine.stage import fails_in_words
from flows.engine.workspace import root
from flows.ledger import rollback
from flows.ledger.history import committed
from flows.ledger.journal import RUN_LOCK
from flows.registry.seeds import LEAST, MOST, Spread, but_for_seed
from flows.report.artifacts import publish_document
from flows.report.summary import Summary
from flows.retrain import retrain
from tasks.shared.errors import InputError
from tasks.shared.locks import alone
from tasks.shared.markup import plain
from tasks.shared.params_file import PARAMS, load, save
from tasks.shared.say import Say
from tasks.shared.templates import render
from tasks.shared.verdict import headline, score

SEEDS = 2**32
TEMPLATE = Path(__file__).parent / "report/templates/seeds.md.j2"


@flow(name="seeds", persist_result=False)
@fails_in_words
def seeds(count: Annotated[int, Field(ge=LEAST, le=MOST)] = LEAST, write: bool = True) -> State[Spread]:  # noqa: FBT001, FBT002 (a form)
    """Train with other seeds and nothing else that differs, and say how far the headline's scores lie apart.

    What has been trained before is not trained again, so a run that was killed goes on where it was.

    Args:
        count: How many trainings, the one with the present train.seed among them.
        write: Write promote.seed_deviation into params.yaml of the checkout.
    """
    log = get_run_logger()
    worker.attach()
    checkout = root()
    params = load(checkout / PARAMS)
    runs = {}
    for number in range(count):
        seed = (params.train.seed + number) % SEEDS
        log.info("training %d of %d: train.seed %d", number + 1, count, seed)
        runs[seed] = _trained(seed)
    spread = _spread(checkout, runs, params.promote.margin)
    publish_document("seeds", render(TEMPLATE, spread=spread), plain(spread.sentence))
    if write:
        _write(checkout, spread.deviation, log.info)
    return Completed(message=spread.sentence, data=spread)


def _trained(seed: int) -> Summary:
    """Return what a run with a seed made; it is a run like any other, but never promoted by itself."""
    given: Any = {"train": {"seed": seed}, "promote": {"when": "never"}}
    state: State[Any] = retrain.with_options(flow_run_name=f"seed-{seed}")(given, return_state=True)
    if not state.is_completed():
        raise StageFailedError(f"train.seed {seed}: {state.message}")
    summary: Summary = state.result()
    return summary


def _spread(checkout: Path, runs: dict[int, Summary], margin: float) -> Spread:
    """Return the scores of runs by their seeds; raise InputError when something else differs too."""
    scores, names, recipes = {}, {}, []
    for seed, run in runs.items():
        if run.saved is None:
            raise InputError(f"the run with train.seed {seed} was not kept; run the same again")
        measured = run.metrics["evaluate"]
        name, _ = headline(measured)
        scores[seed], names[seed] = score(measured, name), run.saved.name
        if not math.isfinite(scores[seed]):
            raise InputError(f"{name} is not defined on the test rows, so it has no deviation; get more rows")
        recipes.append(but_for_seed(committed(checkout, run.saved.commit).stages))
    if any(recipe != recipes[0] for recipe in recipes):
        changed = "params, data or code were changed while it ran, so that runs differ in more than the seed"
        raise InputError(f"{changed}; run the same again")
    return Spread(name, measured["rows"], scores, names, margin)


def _write(checkout: Path, deviation: float, say: Say) -> None:
    """Write promote.seed_deviation into the checkout's params.yaml, while no run is under way there."""
    rollback.recover(checkout, say)
    with alone(checkout / RUN_LOCK, lambda who: say(f"waiting for a run in this checkout ({who})")):
        params = load(checkout / PARAMS)
        promote = params.promote.model_copy(update={"seed_deviation": deviation})
        if save(params.model_copy(update={"promote": promote}), checkout / PARAMS):
            say(f"{PARAMS}: promote.seed_deviation {deviation:.4g}")
