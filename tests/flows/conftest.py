"""What tests of flows use."""

import socket
from collections.abc import Iterator

import pytest

from tests.support.project import Project


@pytest.fixture
def on_server(project: Project, server: str) -> None:
    """Have the clone's runs told to the server that tests share: a temporary one starts longer than they take."""
    project.env["PREFECT_API_URL"] = server


@pytest.fixture
def nowhere() -> Iterator[str]:
    """The address of a port of this machine at which nothing listens, and nothing will."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{taken.getsockname()[1]}"
