"""The pipeline: seven stages, from raw rows to a model that serves and is compared with the one that does."""

from typing import TYPE_CHECKING, Any

from prefect import flow, runtime
from prefect.client.schemas.objects import State
from prefect.logging import get_run_logger

from flows.engine import run_name, worker
from flows.engine.form import form
from flows.engine.processes import Processes
from flows.engine.pruning import Bounds
from flows.engine.stage import Run, fails_in_words
from flows.engine.workspace import Workspace, isolated, root
from flows.report import run_report
from flows.report.summary import Summary
from tasks.shared import tracking
from tasks.shared.params_file import PARAMS, Layer, together, written_in

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


def retrain_in(space: Workspace, processes: Processes) -> State[Any]:
    """Run the flow in a checkout that has been prepared, with the params that it has been given."""

    @flow(name="retrain", persist_result=False)
    @fails_in_words
    def retrain(params: Given, update_data: bool) -> State[Summary]:  # noqa: ARG001, FBT001 (shown in the UI)
        space.say = get_run_logger().info
        return run_stages(Run(space, processes))

    given = Given.model_validate(together(space.given))
    return retrain(given, space.update_data, return_state=True)


def run_stages(run: Run) -> State[Summary]:
    """Bring all stages up to date, and report."""
    # trackers call it so
    run.processes.environment[tracking.NAME] = str(runtime.flow_run.name)
    examples = run.stage("ingest")
    splits = run.stage("split", examples)
    tokens = run.stage("tokenize", splits)
    model = run.stage("train", tokens)
    scores = run.stage("evaluate", model, splits, tokens)
    package = run.stage("package", model, scores)
    run.stage("judge", package)
    return run_report.publish(run)
