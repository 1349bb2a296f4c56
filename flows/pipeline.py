"""The pipeline: seven stages, from raw rows to a model that serves and is compared with the one that does."""

from typing import Any

from prefect import flow, runtime
from prefect.client.schemas.objects import State
from prefect.logging import get_run_logger

from flows.engine.processes import Processes
from flows.engine.stage import Run, fails_in_words
from flows.engine.workspace import Workspace
from flows.report import run_report
from flows.report.summary import Summary
from tasks.shared import tracking
from tasks.shared.params_file import as_read


def retrain_in(space: Workspace, processes: Processes) -> State[Any]:
    """Run the flow in a checkout that has been prepared, with the params that it has been given.

    It needs no form: to make one takes longer than all that finds out that nothing has changed.
    """

    @flow(name="retrain", persist_result=False)
    @fails_in_words
    # both are shown in the UI
    def retrain(params: dict[str, Any], update_data: bool) -> State[Summary]:  # noqa: ARG001, FBT001
        space.say = get_run_logger().info
        return run_stages(Run(space, processes))

    return retrain(as_read(space.given, space.params), space.update_data, return_state=True)


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
