"""The flow `retrain`, as it is deployed: the pipeline in a Git worktree, with params from a form."""

from typing import TYPE_CHECKING

from prefect import flow, runtime
from prefect.client.schemas.objects import State
from prefect.logging import get_run_logger

from flows.engine import run_name, worker
from flows.engine.form import form
from flows.engine.processes import Processes
from flows.engine.pruning import Bounds
from flows.engine.stage import Run, fails_in_words
from flows.engine.workspace import isolated, root
from flows.pipeline import run_stages
from flows.report.summary import Summary
from tasks.shared.params_file import PARAMS, Layer, written_in

if TYPE_CHECKING:
    from flows.engine.form import Given
else:
    Given = form(written_in(PARAMS))


@flow(name="retrain", persist_result=False)
@fails_in_words
def retrain(
    params: Given = Given(),  # noqa: B008 (a form)
    update_data: bool = False,  # noqa: FBT001, FBT002 (a form)
    bounds: Bounds | None = None,
) -> State[Summary]:
    """Fine-tune, evaluate and package one model, doing only what is not already done.

    Args:
        params: What to train, from what, and how. A field left empty is what params.yaml says when the run
            starts (what it said when this form was made stands beside it); the word none empties what may be
            empty.
        update_data: Take in the newer state of imported data first, as `dvc update` does.
        bounds: What a sweep gives its trials, so that those that do worse than others end early; else empty.
    """
    log = get_run_logger()
    worker.attach()
    name = run_name.unique(runtime.flow_run.name, runtime.flow_run.id, root(), log.info)
    given = Layer("params", params.model_dump(mode="json"))
    with (
        isolated(given, name, log.info, update_data=update_data) as space,
        Processes(space.root) as processes,
    ):
        return run_stages(Run(space, processes, bounds))
