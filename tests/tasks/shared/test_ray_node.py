"""What a node does for a stage: in a folder of its own, with no file outside."""

import subprocess
import sys
from pathlib import Path

import pytest

from tasks.shared import ray_node
from tasks.shared.errors import InputError
from tests.support.project import ROOT


@pytest.mark.parametrize("outside", ["/etc/hostname", "../rows.csv", "data/../../rows.csv"])
def test_files_that_nodes_would_write_outside_of_their_folder_are_refused(outside: str) -> None:
    with pytest.raises(InputError, match="is not named by its own"):
        ray_node.name_of(Path(outside))
    with pytest.raises(InputError, match="is not named by its own"):
        ray_node.write(Path(outside), b"what a node sends")
    assert ray_node.name_of(Path("data/./raw/rows.csv")) == "data/raw/rows.csv"


def test_a_scratch_folder_holds_files_by_their_names_and_is_left() -> None:
    before = Path.cwd()
    with ray_node.scratch({"data/media/ab/x.png": b"x"}):
        inside = Path.cwd()
        assert ray_node.contents(Path("data")) == {"data/media/ab/x.png": b"x"}
    assert Path.cwd() == before
    assert not inside.exists()


def test_the_folder_of_a_killed_process_goes_with_the_next_one_and_that_of_a_living_one_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    waits = "import time\nfrom tasks.shared import ray_node\nwith ray_node.scratch({'a': b''}):\n    print(flush=True)\n    time.sleep(600)"
    processes = [
        subprocess.Popen([sys.executable, "-c", waits], cwd=ROOT, stdout=subprocess.PIPE) for _ in range(2)
    ]
    for process in processes:
        assert process.stdout is not None
        process.stdout.readline()
    killed, living = processes
    with ray_node.scratch({}):
        assert len([*Path.cwd().parent.iterdir()]) == 3
    killed.kill()
    killed.wait()
    with ray_node.scratch({}):
        assert len([*Path.cwd().parent.iterdir()]) == 2
    living.kill()
    living.wait()
