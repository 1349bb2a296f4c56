"""Which processes `make up` has started is known whatever happens to clocks, and no other is taken for one of them."""

import os
import subprocess
from pathlib import Path

import psutil
import pytest

from flows.server import pid_files
from tasks.shared.files import read_json, write_json
from tests.support.wait import until


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    pid_files.folder(tmp_path).mkdir(parents=True)
    pid_files.write(tmp_path, "server", os.getpid(), api="http://127.0.0.1:4200/api")
    return tmp_path


def file_of(checkout: Path) -> Path:
    return pid_files.folder(checkout) / "server.json"


def test_a_process_is_known_after_the_clock_was_set(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    booted = psutil.boot_time()
    # what the kernel says of its boot moves with the clock
    monkeypatch.setattr("psutil._pslinux.boot_time", lambda: booted + 3600)
    assert pid_files.running_server(checkout) == "http://127.0.0.1:4200/api"
    assert pid_files.process(file_of(checkout)) == psutil.Process()


def test_a_later_process_with_the_same_number_is_another_one(checkout: Path) -> None:
    write_json(file_of(checkout), read_json(file_of(checkout)) | {"started": "1 of boot before"})
    assert not pid_files.is_running(checkout, "server")
    assert pid_files.process(file_of(checkout)) is None


def test_a_process_that_has_ended_is_none(checkout: Path) -> None:
    with subprocess.Popen(["true"]) as ended:
        until(lambda: psutil.Process(ended.pid).status() == psutil.STATUS_ZOMBIE)
        pid_files.write(checkout, "server", ended.pid)
        assert pid_files.process(file_of(checkout)) is None
    assert pid_files.process(file_of(checkout)) is None
