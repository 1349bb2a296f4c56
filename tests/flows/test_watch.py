"""What a watch has seen of each path is kept by itself, so that no other watch overwrites it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.variables import Variable

from flows.watch import SEEN, report_changed_data

# Prefect keeps 5,000 characters in a variable
LONG = "x" * 1000


@pytest.fixture
def _server(server: str) -> Iterator[None]:
    with temporary_settings({PREFECT_API_URL: server}):
        yield


@pytest.mark.usefixtures("_server")
def test_what_was_seen_of_many_paths_is_known_of_each(tmp_path: Path) -> None:
    paths = [f"{tmp_path}/{LONG}/{number}" for number in range(6)]
    assert {report_changed_data(path, "sha256:1") for path in paths} == {"is seen for the first time"}
    assert {report_changed_data(path, "sha256:1") for path in paths} == {"is as it was"}
    assert Variable.get(SEEN.rstrip("_")) is None


@pytest.mark.usefixtures("_server")
def test_of_many_files_as_much_is_kept_as_of_one(tmp_path: Path) -> None:
    many = " ".join(["d41d8cd98f00b204e9800998ecf8427e"] * 200)
    assert report_changed_data(str(tmp_path), many) == "is seen for the first time"
    assert report_changed_data(str(tmp_path), many) == "is as it was"
