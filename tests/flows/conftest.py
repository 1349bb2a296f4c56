"""What tests of flows use."""

import pytest

from tests.support.project import Project


@pytest.fixture
def on_server(project: Project, server: str) -> None:
    """Have the clone's runs told to the server that tests share: a temporary one starts longer than they take."""
    project.env["PREFECT_API_URL"] = server
