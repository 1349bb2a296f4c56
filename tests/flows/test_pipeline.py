"""The pipeline as a flow run: what it tells Prefect of what it was given."""

import pytest

from tests.support.project import Project
from tests.support.server import flow_run


@pytest.mark.slow
@pytest.mark.parametrize("words", [(), ("--isolated",)], ids=["in place", "isolated"])
def test_what_a_command_gives_is_told_as_it_is_read(
    trained: Project, server: str, words: tuple[str, ...]
) -> None:
    trained.env["PREFECT_API_URL"] = server
    # no stage depends on it
    done = trained.retrain("--promote.margin", "0.02", *words)
    told = flow_run(server, done.stderr)["parameters"]["params"]
    assert told == {"promote": {"margin": 0.02}}
