"""The processes of a run end with it."""

import json
import os
import select
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from flows.engine import fork_server
from flows.engine.processes import Processes, StageFailedError
from tasks.shared.errors import disk_in_words
from tests.support.project import ROOT
from tests.support.wait import until

DRIVER = """
import sys
from pathlib import Path
from flows.engine.processes import Processes
with Processes(Path(sys.argv[1])) as processes:
    processes.run("exec python -m writing", print, print)
"""
WRITING = """
import os, time
from pathlib import Path
Path("stage.new").write_text(str(os.getpid()))
Path("stage.new").rename("stage")
time.sleep(600)
"""

PROVING = """
import sys
import polars as pl
from pathlib import Path
from tasks import package, problems
rows = pl.DataFrame({"id": ["1"], "text": ["late"], "label": ["delivery"]})
package.serve.__file__ = sys.argv[1]
package.repeat(problems.load("text_classification"), Path(), rows, rows)
"""


def test_a_stage_ends_with_a_killed_run_although_the_process_that_forked_it_is_busy(tmp_path: Path) -> None:
    (tmp_path / "writing.py").write_text(WRITING)
    # what is imported for later stages after the first was forked: here without an end
    (tmp_path / "polars.py").write_text("import time\ntime.sleep(600)\n")
    driver = subprocess.Popen([sys.executable, "-c", DRIVER, tmp_path], cwd=ROOT)
    until((tmp_path / "stage").exists)
    stage = int((tmp_path / "stage").read_text())
    server = int(Path(f"/proc/{stage}/stat").read_text().split()[3])
    driver.kill()
    driver.wait()
    until(lambda: not any(Path(f"/proc/{process}").exists() for process in (stage, server)))


def test_the_process_that_proves_a_package_ends_with_a_killed_stage(tmp_path: Path) -> None:
    # a package that takes long to load
    (tmp_path / "writing.py").write_text(f"import os\nos.chdir({str(tmp_path)!r})\n{WRITING}")
    stage = subprocess.Popen([sys.executable, "-c", PROVING, tmp_path / "writing.py"], cwd=ROOT)
    until((tmp_path / "stage").exists)
    serving = int((tmp_path / "stage").read_text())
    stage.kill()
    stage.wait()
    until(lambda: not Path(f"/proc/{serving}").exists())


def test_a_flow_that_is_gone_with_an_answer_unread_ends_the_process_that_forks_stages_without_a_word(
    tmp_path: Path,
) -> None:
    (tmp_path / "writing.py").write_text(WRITING)
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    words = [sys.executable, fork_server.__file__, str(theirs.fileno())]
    server = subprocess.Popen(
        words, cwd=tmp_path, pass_fds=[theirs.fileno()], stderr=subprocess.PIPE, text=True
    )
    theirs.close()
    read, write = os.pipe()
    request = {"module": "writing", "cwd": str(tmp_path), "env": {}}
    socket.send_fds(ours, [json.dumps(request).encode()], [write])
    select.select([ours], [], [])
    until((tmp_path / "stage").exists)
    ours.close()
    _, said = server.communicate()
    assert (server.returncode, said) == (0, "")
    until(lambda: not Path(f"/proc/{(tmp_path / 'stage').read_text()}").exists())
    for descriptor in (read, write):
        os.close(descriptor)


def test_a_process_that_forks_stages_and_is_gone_is_a_sentence(tmp_path: Path) -> None:
    with Processes(tmp_path) as processes:
        processes.start()
        assert processes.server
        processes.server.kill()
        processes.server.wait()
        with pytest.raises(StageFailedError, match="the process that starts stages is gone; was it killed"):
            processes.run("exec python -m writing", print, print)


def test_what_cannot_be_imported_ends_no_stage_that_does_not_need_it(tmp_path: Path) -> None:
    # as torch does where a library of CUDA is missing
    (tmp_path / "polars.py").write_text("raise OSError('libcudart.so: cannot open shared object file')\n")
    (tmp_path / "idle.py").write_text("")
    (tmp_path / "needing.py").write_text("import polars\n")
    said: list[str] = []
    with Processes(tmp_path) as processes:
        processes.run("exec python -m idle", print, print)
        with pytest.raises(StageFailedError, match="needing failed with exit status 1"):
            processes.run("exec python -m needing", said.append, print)
    assert "OSError: libcudart.so: cannot open shared object file" in said


def test_how_a_stage_was_ended_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "crashing.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGABRT)\n")
    told = "crashing was ended by SIGABRT. Run the same command again to go on from its last checkpoint"
    with Processes(tmp_path) as processes, pytest.raises(StageFailedError) as raised:
        processes.run("exec python -m crashing", print, print)
    assert str(raised.value) == told


def test_what_a_stage_has_said_of_a_disk_is_handed_on_as_it_is() -> None:
    said = (
        "ingest: its outputs could not all be written to the DVC cache, so the disk is full or not writable"
    )
    with pytest.raises(StageFailedError, match=f"^{said}$"), disk_in_words():
        raise StageFailedError(said)
