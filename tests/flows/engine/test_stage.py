"""A stage goes on while nobody can be told how far it is, and is shown again as soon as somebody can."""

from pathlib import Path

import pytest
from prefect.logging import disable_run_logger
from prefect.settings import PREFECT_API_URL, temporary_settings

from flows.engine.processes import Processes
from flows.engine.progress_artifact import ProgressArtifact
from flows.engine.pruning import Bounds, PrunedError
from flows.engine.stage import Shown, show_running
from tests.support.server import request

STAGE = """
from pathlib import Path
from tasks.shared.progress import Progress

for _ in range(2):
    Progress("train", 1).update(1)
Path("done").touch()
"""


def test_a_server_that_is_gone_for_a_moment_ends_no_stage(tmp_path: Path, nowhere: str) -> None:
    (tmp_path / "stage.py").write_text(STAGE)
    with (
        temporary_settings({PREFECT_API_URL: f"{nowhere}/api"}),
        disable_run_logger(),
        Processes(tmp_path) as running,
    ):
        show_running("train", "exec python -m stage", running)
    assert (tmp_path / "done").exists()


@pytest.mark.filterwarnings("ignore:Artifact creation outside of a flow:FutureWarning")
def test_progress_is_shown_again_once_the_server_answers(server: str, nowhere: str) -> None:
    artifact = ProgressArtifact("some-progress")
    for url, percent in ((nowhere, 10.0), (server, 20.0), (nowhere, 30.0), (server, 40.0)):
        with temporary_settings({PREFECT_API_URL: url}):
            artifact.show(percent, f"{percent} of 100")
    found = request(server, f"artifacts/{artifact.its_id}")
    assert (found["data"], found["description"]) == (40.0, "40.0 of 100")


@pytest.mark.filterwarnings("ignore:Artifact creation outside of a flow:FutureWarning")
def test_a_trial_that_is_out_of_bounds_is_pruned_once_the_server_can_be_told(
    server: str, nowhere: str
) -> None:
    shown = Shown("train", Bounds(metric="f1", higher_is_better=True, reach=[0.5]))
    message = {"evaluations": [{"step": 1, "f1": 0.1}], "steps": 4}
    with temporary_settings({PREFECT_API_URL: f"{nowhere}/api"}):
        shown.update(message)
    with temporary_settings({PREFECT_API_URL: server}), pytest.raises(PrunedError, match="step 1 of 4"):
        shown.update(message)
