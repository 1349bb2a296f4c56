"""The pipeline: six stages, from raw rows to a model that serves."""

from typing import TYPE_CHECKING

from prefect import flow, runtime
from prefect.client.schemas.objects import State
from prefect.logging import get_run_logger
from prefect.states import Failed

from flows.engine import run_name, worker
from flows.engine.form import form
from flows.engine.processes import Processes, StageFailedError
from flows.engine.stage import Run
from flows.engine.workspace import of_this_run, root
from flows.ledger.results import why
from flows.report import run_report
from flows.report.summary import Summary
from tasks.shared.errors import InputError, disk_in_words
from tasks.shared.params_file import load

if TYPE_CHECKING:
    from flows.engine.form import Given
else:
    Given = form(load())


@flow(name="retrain", persist_result=False)
def retrain(params: Given = Given(), update_data: bool = False) -> State[Summary] | State[None]:  # noqa: B008, FBT001, FBT002 (a form)
    """Fine-tune, evaluate and package one model, doing only what is not already done.

    Args:
        params: What to train, from what, and how. A field left empty is what params.yaml says when the run starts (what it said
            when this form was made stands beside it); the word none empties what may be empty.
        update_data: Take in the newer state of imported data first, as `dvc update` does.
    """
    log = get_run_logger()
    try:
        worker.attach()
        name = run_name.unique(runtime.flow_run.name, runtime.flow_run.id, root(), log.info)
        with (
            disk_in_words(),
            of_this_run(params.model_dump(mode="json"), update_data, name, log.info) as space,
            Processes.of(space.root) as processes,
        ):
            run = Run(space, processes)
            examples = run.stage("ingest")
            splits = run.stage("split", examples)
            tokens = run.stage("tokenize", splits)
            model = run.stage("train", tokens)
            scores = run.stage("evaluate", model, splits, tokens)
            run.stage("package", model, scores)
            return run_report.publish(run)
    except (InputError, StageFailedError) as error:
        return Failed(message=why(error))
