"""`retrain sweep`."""

import json
import os
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter
from cyclopts.validators import Number

from flows.cli.common import AsJson, FromRevision, ParamsFile, TypedParams, given
from flows.cli.session import Session
from flows.sweeps.budget import MINUTES, TRIALS
from tasks.shared.params_file import PARAMS, Layer, as_read, together, written_in

Count = Annotated[int, Parameter(validator=Number(gte=1, lte=TRIALS))]
Minutes = Annotated[float, Parameter(validator=Number(gt=0, lte=MINUTES))]
Warmup = Annotated[int, Parameter(validator=Number(gte=0, lte=TRIALS))]


def sweep(
    *,
    from_revision: FromRevision = None,
    params_file: ParamsFile = None,
    trials: Count = 20,
    timeout_minutes: Minutes | None = None,
    name: str = "",
    deployment: str = "",
    at_once: Count | None = None,
    pruner: Literal["median", "none"] = "median",
    warmup_evaluations: Warmup = 1,
    as_json: AsJson = False,
    params: TypedParams = None,
) -> int:
    """Search params: many trainings, each chosen by what those before it scored on validation.

    A param with a range, LOW:HIGH or LOW:HIGH:log, or with several values, A,B,C, is searched; one with a
    single value has it in all trials. Each trial is an isolated run like any other, with its own experiment;
    what has been computed is not computed again. The same command goes on where it was killed. The best is
    one candidate for `retrain promote`, which takes one look at test rows.

    Examples: `retrain sweep --train.learning-rate 1e-5:5e-4:log --train.epochs 3,5 --trials 8`,
    `retrain sweep --train.lr-scheduler-type linear,cosine --timeout-minutes 60`.

    Parameters
    ----------
    from_revision
        Begin with the params of a commit, branch, tag or experiment (such as HEAD), not the checkout's.
    params_file
        A whole or partial params file, laid over params.yaml first.
    trials
        How many trainings, those of earlier times included.
    timeout_minutes
        Begin no more of them after so many minutes.
    name
        What the sweep and its runs are called; by what is searched unless it is given.
    deployment
        The deployment that runs them; retrain/manual where a server with a worker is. none: one after
        another, in this process.
    at_once
        How many of them at once, where a deployment runs them: as many as its pool has workers.
    pruner
        With median a training ends early when its best score so far is worse than the median of what those
        done before it had at the same evaluation, where five or more are.
    warmup_evaluations
        At how many of its first evaluations no training is ended so.
    as_json
        Print JSON.
    """
    session, search, fixed = _checked(from_revision, params_file, params, name, deployment)
    session.start()
    from flows.report.sweep import show
    from flows.sweep import sweep as flow

    found, status = session.run(
        lambda: flow(
            search=search,
            trials=trials,
            timeout_minutes=timeout_minutes,
            name=name,
            deployment=deployment,
            at_once=at_once,
            pruner=pruner,
            warmup_evaluations=warmup_evaluations,
            params=fixed,
            return_state=True,
        )
    )
    if found is None:
        return status
    if as_json:
        print(json.dumps(found.to_dict(), indent=2))
    else:
        show(found)
    return status


def _checked(
    from_revision: str | None, params_file: Path | None, params: TypedParams, name: str, deployment: str
) -> tuple[Session, list[str], dict[str, Any]]:
    """Return a session, what is searched, and what all trials have; raise InputError for what is wrong."""
    from flows.engine import workspace
    from flows.engine.data import located
    from flows.engine.prepare import refuse_unknown_names
    from flows.sweeps.asked import asked, refuse_other_flow
    from flows.sweeps.space import apart

    refuse_other_flow(deployment)
    checkout = workspace.root()
    layers = given(from_revision, params_file, None, checkout)
    typed = together(given(None, None, params, checkout))
    os.chdir(checkout)
    search, single = apart(typed)
    layers.append(Layer("command line", single))
    its = asked(search, name, written_in(checkout / PARAMS), *layers)
    located(its.params, checkout, checkout, isolated=True)
    refuse_unknown_names(its.params)
    return Session(checkout), search, as_read(layers, its.params)
