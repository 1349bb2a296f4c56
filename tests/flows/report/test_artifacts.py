"""Documents in the Prefect UI."""

from prefect import flow
from prefect.settings import PREFECT_API_URL, temporary_settings

from flows.report.artifacts import publish_document
from tests.support.server import ask


def test_of_the_latest_documents_of_runs_that_ended_at_once_the_next_leaves_its_own_alone(
    server: str,
) -> None:
    for number in range(2):
        left = {"key": "told", "type": "markdown", "data": f"# {number}", "description": "of those before"}
        ask(server, "artifacts/", **left)

    @flow(name="tells")
    def tells() -> None:
        publish_document("told", "# new", "of the last")

    with temporary_settings({PREFECT_API_URL: server}):
        tells()
    (latest,) = ask(server, "artifacts/filter", artifacts={"key": {"any_": ["told"]}})
    assert (latest["data"], latest["description"], latest["flow_run_id"]) == ("# new", "of the last", None)
    (own,) = ask(server, "artifacts/filter", artifacts={"key": {"like_": "told-"}})
    assert own["data"] == "# new"
