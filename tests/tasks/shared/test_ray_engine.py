"""Without a cluster: what cannot be reached, or would let anybody in, is one sentence."""

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tasks.shared import ray_engine
from tasks.shared.engine import LOCAL, started
from tasks.shared.errors import InputError
from tasks.shared.params import Engine, Params
from tests.support.project import ROOT

pytest.importorskip("ray")


def refused(address: str | None = None) -> str:
    """Return with which sentence a cluster is refused."""
    with pytest.raises(InputError) as refusal, started(Params(engine=Engine(name="ray", address=address))):
        pass
    return str(refusal.value)


def test_a_cluster_without_a_token_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_AUTH_MODE", raising=False)
    assert refused("127.0.0.2:6379").startswith(
        "engine.name ray: whoever reaches a Ray cluster without token authentication runs code on it; start its nodes"
    )


def test_an_address_where_nothing_listens_is_refused_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    with socket.socket() as free:
        free.bind(("127.0.0.2", 0))
        address = f"127.0.0.2:{free.getsockname()[1]}"
        assert refused(address).startswith(
            f"engine.address: no Ray cluster answers at {address} (Connection refused); start one, and a node of it here"
        )


@pytest.mark.parametrize("address", ["head", "ray://head:10001", "head:port", "a b:1", "head:6379/x"])
def test_an_address_is_a_host_and_a_port(address: str) -> None:
    with pytest.raises(ValueError, match="address"):
        Engine(name="ray", address=address)


def test_without_a_cluster_shards_are_computed_here_one_after_another() -> None:
    with started(Params()) as engine:
        assert engine is LOCAL
        assert list(engine.map(range, iter([2, 0, 3]))) == [0, 1, 0, 1, 2]
        assert [*map(list, engine.chunks([1, 2, 3], 2))] == [[1, 2, 3]]


def test_on_nodes_items_are_cut_into_shards() -> None:
    assert [*map(list, ray_engine.Ray("", use_gpu=False).chunks([1, 2, 3], 2))] == [[1, 2], [3]]


@pytest.mark.parametrize("outside", ["/etc/hostname", "../rows.csv", "data/../../rows.csv"])
def test_files_that_nodes_would_write_outside_of_their_folder_are_refused(outside: str) -> None:
    with pytest.raises(InputError, match="is not named by its own"):
        ray_engine.name_of(Path(outside))
    with pytest.raises(InputError, match="is not named by its own"):
        ray_engine.write(Path(outside), b"what a node sends")
    assert ray_engine.name_of(Path("data/./raw/rows.csv")) == "data/raw/rows.csv"


def test_a_scratch_folder_holds_files_by_their_names_and_is_left() -> None:
    before = Path.cwd()
    with ray_engine.scratch({"data/media/ab/x.png": b"x"}):
        inside = Path.cwd()
        assert ray_engine.contents(Path("data")) == {"data/media/ab/x.png": b"x"}
    assert Path.cwd() == before
    assert not inside.exists()


def test_the_folder_of_a_killed_process_goes_with_the_next_one_and_that_of_a_living_one_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    waits = "import time\nfrom tasks.shared import ray_engine\nwith ray_engine.scratch({'a': b''}):\n    print(flush=True)\n    time.sleep(600)"
    processes = [
        subprocess.Popen([sys.executable, "-c", waits], cwd=ROOT, stdout=subprocess.PIPE) for _ in range(2)
    ]
    for process in processes:
        assert process.stdout is not None
        process.stdout.readline()
    killed, living = processes
    with ray_engine.scratch({}):
        assert len([*Path.cwd().parent.iterdir()]) == 3
    killed.kill()
    killed.wait()
    with ray_engine.scratch({}):
        assert len([*Path.cwd().parent.iterdir()]) == 2
    living.kill()
    living.wait()
