"""`python -m flows.server.worker`: Prefect's command line, with a process worker that asks a server for less.

Prefect's own asks for 200 runs however few it can take, as often as ever when it can take none: a hundred
workers would keep a server busy with that alone.
"""

import time
import warnings
from datetime import UTC, datetime, timedelta

import httpx
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.responses import WorkerFlowRunResponse
from prefect.workers.process import ProcessWorker

# the server refuses to be asked for more at once (PREFECT_SERVER_API_DEFAULT_LIMIT)
PAGE = 200
# seconds until a worker whose slots are all taken asks again; after 60 its queue is taken for deserted
FULL = 30.0


async def next_runs(
    client: PrefectClient, pool: str, queues: list[str], before: datetime, slots: int
) -> list[WorkerFlowRunResponse]:
    """Return the runs that a worker of so many slots would start next; none where the pool is not there yet.

    Prefect's client cannot ask for fewer than the server's limit of a page; its API can be asked.
    """
    wanted = {"scheduled_before": str(before), "work_queue_names": queues, "limit": slots}
    try:
        answer = await client.request(
            "POST", "/work_pools/{name}/get_scheduled_flow_runs", path_params={"name": pool}, json=wanted
        )
    except httpx.HTTPStatusError as error:
        if error.response.status_code == httpx.codes.NOT_FOUND:
            return []
        raise
    return WorkerFlowRunResponse.model_validate_list(answer.json())


with warnings.catch_warnings():
    # it is meant to take the place of the other
    warnings.filterwarnings("ignore", message=".*existing type will be overridden")

    class Worker(ProcessWorker):
        """A process worker that asks for as many runs as it has slots, and seldom while all are taken."""

        _asked = float("-inf")

        async def _get_scheduled_flow_runs(self) -> list[WorkerFlowRunResponse]:
            if self._limiter is None:
                return await super()._get_scheduled_flow_runs()
            if not self._limiter.available_tokens and time.monotonic() - self._asked < FULL:
                return []
            self._asked = time.monotonic()
            soon = datetime.now(UTC) + timedelta(seconds=self._prefetch_seconds)
            # all of its slots, the taken ones too: what still ends may stand first in the queue
            slots = min(int(self._limiter.total_tokens), PAGE)
            return await next_runs(self.client, self._work_pool_name, sorted(self._work_queues), soon, slots)


if __name__ == "__main__":
    from prefect.cli import app

    app()
