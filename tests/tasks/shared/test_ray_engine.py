"""Without a cluster: what cannot be reached, or would let anybody in, is one sentence."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from tasks.shared import ray_engine
from tasks.shared.engine import LOCAL, started
from tasks.shared.errors import InputError
from tasks.shared.params import Engine, Params
from tasks.train.ray import failed
from tests.support.project import ROOT
from tests.support.ray_cluster import alive, cluster
from tests.support.wait import PATIENCE, until

exceptions = pytest.importorskip("ray.exceptions")

# a process that comes to a cluster with a token
ASKS = """
import sys
from tasks.shared.engine import started
from tasks.shared.errors import InputError
from tasks.shared.params import Engine, Params
try:
    with started(Params(engine=Engine(name="ray", address=sys.argv[1]))):
        pass
except InputError as error:
    print(error)
"""
# one with a shard that is computed until a file is there, and that soon looks around
WAITS = """
import os, sys, time
from pathlib import Path
from tasks.shared import ray_engine
from tasks.shared.engine import started
from tasks.shared.params import Engine, Params
def work(shard):
    begun = Path(shard[0])
    begun.with_suffix(".part").write_text(str(os.getpid()))
    begun.with_suffix(".part").replace(begun)
    while not Path(shard[1]).exists():
        time.sleep(0.05)
    yield "computed"
ray_engine.LOOK = 1.0
with started(Params(engine=Engine(name="ray", address=sys.argv[1]))) as engine:
    print(*engine.map(work, [sys.argv[2:]]))
"""


def refused(address: str | None = None) -> str:
    """Return with which sentence a cluster is refused."""
    with pytest.raises(InputError) as refusal, started(Params(engine=Engine(name="ray", address=address))):
        pass
    return str(refusal.value)


def test_a_cluster_without_a_token_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_AUTH_MODE", raising=False)
    assert refused("127.0.0.2:6379").startswith(
        "engine.name ray: RAY_AUTH_MODE is not token here, and whoever reaches a Ray cluster without token authentication runs code on it; start"
    )


def test_an_address_where_nothing_listens_is_refused_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    with socket.socket() as free:
        free.bind(("127.0.0.2", 0))
        address = f"127.0.0.2:{free.getsockname()[1]}"
        assert refused(address).startswith(
            f"engine.address: no Ray cluster answers at {address} (Connection refused); start one, and a node of it here"
        )


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("10.0.0..5:6379", "label"),
        (f"{'a' * 64}.example:6379", "label"),
        ("127.0.0.1:99999", "ports are numbers up to 65535"),
    ],
)
def test_an_address_that_no_machine_can_have_is_one_sentence(
    address: str, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    sentence = refused(address)
    assert sentence.startswith(f"engine.address: no Ray cluster answers at {address} (")
    assert why in sentence


@pytest.mark.parametrize("asks", [True, False])
def test_a_head_that_asks_for_no_token_is_refused_whatever_is_sent_along(
    asks: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RAY_USE_TLS", raising=False)
    with head(asks=asks) as address:
        if asks:
            ray_engine._refuse_open(address)
            return
        with pytest.raises(
            InputError, match=f"the cluster at {address} answers whoever has no token, and whoever"
        ):
            ray_engine._refuse_open(address)


@contextmanager
def head(*, asks: bool) -> Iterator[str]:
    """Yield the address of a gRPC server that asks for a token as Ray's do, or does not."""
    grpc = pytest.importorskip("grpc")

    class Asked(grpc.GenericRpcHandler):
        def service(self, details: Any) -> Any:
            return grpc.unary_unary_rpc_method_handler(self.answer)

        def answer(self, request: bytes, context: Any) -> bytes:
            if asks:
                context.abort(
                    grpc.StatusCode.UNAUTHENTICATED, "InvalidAuthToken: Authentication token is missing"
                )
            return b""

    with ThreadPoolExecutor(1) as threads:
        server = grpc.server(threads)
        server.add_generic_rpc_handlers((Asked(),))
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        yield f"127.0.0.1:{port}"
        server.stop(None).wait()


def test_only_what_computes_on_the_device_takes_a_gpu(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    nodes = [{"CPU": 4.0}, {"CPU": 2.0, "GPU": 1.0}]
    monkeypatch.setattr("ray.nodes", lambda: [{"Alive": True, "Resources": node} for node in nodes])
    engine = ray_engine.Ray("", use_gpu=True)
    assert engine.refuse_too_few(2, on_device=False) == 3
    assert engine.refuse_too_few(2, on_device=True) == 1
    assert ray_engine.Ray("", use_gpu=False).refuse_too_few(2, on_device=True) == 3
    with pytest.raises(InputError, match="room for 1 of 2 processes with 2 CPUs and a GPU each"):
        engine.refuse_too_few(2, 2, on_device=True)
    engine.say_waiting(2, on_device=True)
    assert capsys.readouterr().out == ""
    nodes.pop()
    engine.say_waiting(2, on_device=True)
    assert capsys.readouterr().out == "waiting for nodes: they have room for 0 of 1 processes\n"


def test_whoever_waits_for_a_shard_looks_around_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[float] = []

    def get(ref: Any, timeout: float) -> Any:
        if len(looks) < 2:
            raise exceptions.GetTimeoutError
        return [ref, timeout], {}

    monkeypatch.setattr("ray.get", get)
    assert ray_engine._taken("shard", lambda: looks.append(0)) == ["shard", 60.0]
    assert len(looks) == 2


@pytest.mark.parametrize(
    "error",
    [
        exceptions.WorkerCrashedError(),
        exceptions.NodeDiedError("the node is dead"),
        exceptions.OutOfMemoryError("too much memory"),
        exceptions.ObjectLostError("ab", None, ""),
    ],
)
def test_a_shard_that_goes_down_with_its_process_says_how_often(error: Exception) -> None:
    sentence = str(ray_engine.in_a_sentence(error))
    assert sentence.startswith("engine.name ray: a shard was lost with its process or node 9 times (")
    assert sentence.endswith("); give its nodes more memory")


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (
            exceptions.RuntimeEnvSetupError("no space\nleft"),
            "Failed to set up runtime environment. no space left",
        ),
        (exceptions.ObjectStoreFullError("100 MB"), "100 MB The local object store is full"),
        (exceptions.OutOfDiskError("95 %"), "95 % The object cannot be created"),
        (exceptions.AuthenticationError("no token"), "no token. Note"),
        (exceptions.RayError(), "RayError"),
    ],
)
def test_any_other_error_of_ray_is_told_in_its_own_words(error: Exception, says: str) -> None:
    sentence = str(ray_engine.in_a_sentence(error))
    assert sentence.startswith(f"engine.name ray: the cluster could not do its work ({says}")
    assert "times" not in sentence
    assert "\n" not in sentence


def test_a_training_says_how_often_it_failed_only_where_it_was_started_again() -> None:
    from ray.train import ControllerError, WorkerGroupError

    of_processes = WorkerGroupError("out of memory", {0: RuntimeError("out of memory")})
    assert str(failed(of_processes)).startswith(
        "engine.name ray: training failed 9 times on the cluster, last because "
    )
    once = str(failed(ControllerError(RuntimeError("no placement\ngroup"))))
    assert once.startswith(
        "engine.name ray: training failed on the cluster (Training failed due to controller error: no placement group)"
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


@pytest.mark.slow
def test_a_cluster_that_was_started_without_tokens_is_refused_by_who_has_one() -> None:
    with cluster(nodes=0, asks=False) as nodes:
        done = subprocess.run(
            [sys.executable, "-c", ASKS, nodes.address],
            cwd=ROOT,
            env=os.environ | nodes.token,
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.stdout.startswith(
        f"engine.name ray: the cluster at {nodes.address} answers whoever has no token"
    )


@pytest.mark.slow
def test_a_shard_waits_for_a_node_with_a_word_when_the_last_one_is_gone(tmp_path: Path) -> None:
    said, begun, goes_on = tmp_path / "said", tmp_path / "begun", tmp_path / "goes-on"
    with cluster(nodes=1) as nodes, said.open("w") as output:
        words = [sys.executable, "-c", WAITS, nodes.address, str(begun), str(goes_on)]
        running = subprocess.Popen(words, cwd=ROOT, env=os.environ | nodes.token, stdout=output)
        try:
            nodes.kill_node_of(
                alive(running, lambda: psutil.Process(int(begun.read_text())) if begun.exists() else None)
            )
            until(lambda: "waiting for nodes: they have room for 0 of 1 processes" in said.read_text("utf-8"))
            goes_on.touch()
            nodes.start()
            assert running.wait(PATIENCE) == 0
        finally:
            running.kill()
    assert said.read_text("utf-8").endswith("computed\n")
