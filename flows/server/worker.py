"""`python -m flows.server.worker`: Prefect's command line, with a process worker that lives on.

Prefect's own ends, with all that it runs, when a run that it started is scheduled again before its process is
gone: somebody has answered at once, or pressed Retry.
"""

import warnings

from prefect.client.schemas.objects import FlowRun
from prefect.client.schemas.responses import WorkerFlowRunResponse
from prefect.workers.process import ProcessWorker

with warnings.catch_warnings():
    # it is meant to take the place of the other
    warnings.filterwarnings("ignore", message=".*existing type will be overridden")

    class Worker(ProcessWorker):
        """A process worker that leaves a run for later whose last process still ends."""

        async def _submit_scheduled_flow_runs(
            self, flow_run_response: list[WorkerFlowRunResponse]
        ) -> list[FlowRun]:
            ending = self._limiter.statistics().borrowers if self._limiter else ()
            ready = [entry for entry in flow_run_response if entry.flow_run.id not in ending]
            return await super()._submit_scheduled_flow_runs(ready)


if __name__ == "__main__":
    from prefect.cli import app

    app()
