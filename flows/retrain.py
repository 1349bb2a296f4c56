"""The pipeline: six stages, from raw rows to a model that serves."""

from prefect import flow, runtime
from prefect.client.schemas.objects import State
from prefect.logging import get_run_logger
from prefect.states import Failed

from flows import report
from flows.deployed import settle_in
from flows.outcome import why
from flows.processes import Processes, StageFailedError
from flows.stage import Run
from flows.summary import Summary
from flows.workspace import of_this_run
from tasks.errors import InputError
from tasks.params import Params
from tasks.params_file import load

DEFAULTS = load()


@flow(name="retrain", persist_result=False)
def retrain(params: Params = DEFAULTS, update_data: bool = False) -> State[Summary] | State[None]:  # noqa: FBT001, FBT002 (a switch in the form)
    """Fine-tune, evaluate and package one model, doing only what is not already done.

    Args:
        params: What to train, from what, and how. The defaults are those of params.yaml.
        update_data: Take in the newer state of imported data first, as `dvc update` does.
    """
    log = get_run_logger()
    try:
        settle_in(DEFAULTS)
        with of_this_run(params, update_data, runtime.flow_run.name, log.info) as space, Processes.of(space.root) as processes:
            run = Run(space, processes)
            examples = run.stage("ingest")
            splits = run.stage("split", examples)
            tokens = run.stage("tokenize", splits)
            model = run.stage("train", tokens)
            scores = run.stage("evaluate", model, splits, tokens)
            run.stage("package", model, scores)
            return report.publish(run)
    except (InputError, StageFailedError) as error:
        return Failed(message=why(error))


if __name__ == "__main__":
    from flows.cli import main

    main(["run"])
