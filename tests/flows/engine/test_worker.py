"""A run that starts by itself takes over from those that waited for the same, and from nobody's own."""

from datetime import UTC, datetime, timedelta

from prefect import flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import DeploymentScheduleCreate
from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterId
from prefect.client.schemas.schedules import IntervalSchedule
from prefect.logging import disable_run_logger
from prefect.settings import PREFECT_API_URL, temporary_settings

from flows.engine.worker import _supersede
from tests.support.server import request

DAY = timedelta(days=1)


@flow
def waiting() -> None:
    """Do nothing."""


def test_a_run_that_somebody_asked_for_is_not_cancelled_for_one_of_a_schedule(server: str) -> None:
    with temporary_settings({PREFECT_API_URL: server}), get_client(sync_client=True) as client:
        clock = DeploymentScheduleCreate(schedule=IntervalSchedule(interval=DAY), active=True)
        of = client.create_flow(waiting)
        made = client.create_deployment(of, "clock", schedules=[clock])
        late = {"start_time": f"{datetime.now(UTC) - 3 * DAY}", "end_time": f"{datetime.now(UTC) - DAY}"}
        request(
            server, f"deployments/{made}/schedule", {**late, "min_time": 0.0, "min_runs": 2, "max_runs": 2}
        )
        asked = client.create_flow_run_from_deployment(made)
        wanted = DeploymentFilter(id=DeploymentFilterId(any_=[made]))
        before = client.read_flow_runs(deployment_filter=wanted)
        first, other = (
            run for run in before if run.auto_scheduled and run.expected_start_time < datetime.now(UTC)
        )
        with disable_run_logger():
            _supersede(client, first)
        after = {run.id: run.state_name for run in client.read_flow_runs(deployment_filter=wanted)}
        # its clock would go on
        client.delete_flow(of)
    assert after[other.id] == "Cancelled"
    assert after[asked.id] in ("Scheduled", "Late")
    assert after[first.id] in ("Scheduled", "Late")
