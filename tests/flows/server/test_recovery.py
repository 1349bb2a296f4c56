"""Runs that crashed go on, unless another has done their work since: however many runs there were meanwhile."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from uuid import UUID

import pytest
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.states import Crashed, Running

from flows.server.recovery import TAG, restart_crashed_runs


@pytest.fixture
def client(server: str) -> Iterator[SyncPrefectClient]:
    with temporary_settings({PREFECT_API_URL: server}), get_client(sync_client=True) as client:
        yield client


@pytest.fixture
def deployments(client: SyncPrefectClient) -> Iterator[list[UUID]]:
    """Two deployments of ours, of a flow that nobody runs."""
    flow = client.create_flow_from_name("crashing")
    yield [client.create_deployment(flow, name=name, tags=[TAG]) for name in ("nightly", "watch")]
    client.delete_flow(flow)


# 201 are more than the server answers with at once
@pytest.mark.parametrize("others", [1, pytest.param(201, marks=pytest.mark.slow)])
def test_a_crashed_run_whose_work_is_done_is_left_alone_however_many_others_have_run_since(
    client: SyncPrefectClient, deployments: list[UUID], others: int
) -> None:
    def begun(deployment: UUID, number: int) -> UUID:
        run = client.create_flow_run_from_deployment(
            deployment, parameters={"number": number}, state=Running()
        )
        return run.id

    ours, other = deployments
    crashed = [begun(ours, number) for number in (1, 2)]
    for run in crashed:
        client.set_flow_run_state(run, Crashed(), force=True)
    begun(ours, 1)
    with ThreadPoolExecutor(8) as at_once:
        list(at_once.map(lambda number: begun(other, number), range(others)))
    told: list[str] = []
    restart_crashed_runs(told.append)
    assert [client.read_flow_run(run).state_name for run in crashed] == ["Crashed", "AwaitingRetry"]
    assert len(told) == 1
