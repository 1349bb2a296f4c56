"""A Ray cluster that computes shards: nodes that share no disk, any of which may die.

Code travels as Ray's runtime environment: the sources of the stages and their pins as they stand in the
current folder. Functions, shards and what comes of them travel as cloudpickle makes them, between processes
of one user that know the cluster's token (docs/security.md).
"""

import logging
import os
import shutil
import socket
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from tasks.shared.engine import Files, Item, Shard
from tasks.shared.errors import InputError
from tasks.shared.params import Params
from tasks.shared.ray_node import computed, name_of, write
from tasks.shared.stage import ANY_VERSION, PINS

if TYPE_CHECKING:
    from ray import ObjectRef
    from ray.exceptions import RayError

# how often a shard is computed anew that went down with its process or node: one that fills any memory ends
RETRIES = 8
# shards for each CPU of the cluster that are sent ahead
AHEAD = 2
# seconds for the head to answer
PATIENCE = 10.0
# seconds between looks at whether the nodes have room
LOOK = 60.0
# characters of what an error of Ray's says
WHY = 300
AUTH_MODE, TLS = "RAY_AUTH_MODE", "RAY_USE_TLS"
# what a head tells everybody who may ask it anything: the method, an empty message, and how gRPC refuses one
ASKED, EMPTY = "/ray.rpc.NodeInfoGcsService/GetClusterId", bytes(5)
GRPC = {"content-type": "application/grpc", "te": "trailers"}
UNAUTHENTICATED = "16"
# what nodes are told of this process's environment: versions, threads, how often to keep a checkpoint
HANDED_ON = (ANY_VERSION, "GOMP_SPINCOUNT", "OMP_WAIT_POLICY", "RETRAIN_CHECKPOINT_SECONDS")
# everything that a node needs is sent to it; Ray Train leaves `print` alone
ON_NODES = {"HF_HUB_OFFLINE": "1", "RAY_TRAIN_ENABLE_PRINT_PATCH": "0"}
# of the sources, what Python makes of them
COMPILED = shutil.ignore_patterns("__pycache__", ".*")


class Ray:
    """Computes shards as Ray tasks."""

    processes = 1

    def __init__(self, problem: str, *, use_gpu: bool) -> None:
        self.problem, self.use_gpu = problem, use_gpu

    @property
    def device(self) -> str:
        """A GPU, where `engine.use_gpu` says so."""
        return "cuda" if self.use_gpu else "cpu"

    def map(
        self,
        function: Callable[[Shard], Iterable[Item]],
        shards: Iterable[Shard],
        *,
        reads: Files[Shard] | None = None,
        writes: Path | None = None,
        threads: int = 1,
        on_device: bool = False,
    ) -> Iterator[Item]:
        """Yield what `function` yields for each shard, in the shards' order; a few are computed ahead.

        Where the nodes with room for one go meanwhile, it waits for others, and says so. on_device: whether a
        shard takes a GPU, where `engine.use_gpu` says so.

        Raises InputError as the function does, for a file outside the current folder, where no node has so
        many CPUs, and when a shard was lost with its process or node more than RETRIES times.
        """
        import ray

        needs = {"num_cpus": threads, "num_gpus": self._gpus(on_device=on_device)}
        compute = ray.remote(computed).options(**needs, max_retries=RETRIES, scheduling_strategy="SPREAD")
        # in a list, so that it is no argument that Ray hands over anew with each shard
        held = [ray.put(function)]
        waiting: deque[ObjectRef[Any]] = deque()
        room = self.refuse_too_few(threads, on_device=on_device)
        look = partial(self.say_waiting, threads, on_device=on_device)
        for shard in shards:
            if len(waiting) >= AHEAD * room:
                yield from _taken(waiting.popleft(), look)
            files = {name_of(path): path.read_bytes() for path in (reads(shard) if reads else ())}
            folder = name_of(writes) if writes else None
            waiting.append(compute.remote(self.problem, held, shard, files, folder, threads))
        while waiting:
            yield from _taken(waiting.popleft(), look)

    def chunks(self, items: Sequence[Item], most: int) -> Iterator[Sequence[Item]]:
        """Yield the items as shards of `most` at most."""
        for start in range(0, len(items), most):
            yield items[start : start + most]

    def refuse_too_few(self, threads: int, processes: int = 1, *, on_device: bool) -> int:
        """Return how many processes of so many threads the nodes have room for.

        on_device: whether each takes a GPU, where `engine.use_gpu` says so.
        Raises InputError where that is less than `processes`: Ray would wait for more.
        """
        room = self.room(threads, on_device=on_device)
        if room < processes:
            gpu = " and a GPU" if self._gpus(on_device=on_device) else ""
            raise InputError(
                f"engine.name ray: the nodes have room for {room} of {processes} processes with {threads} "
                f"CPUs{gpu} each; start more nodes or larger ones, or set train.num_threads or "
                "OMP_NUM_THREADS lower"
            )
        return room

    def say_waiting(self, threads: int, processes: int = 1, *, on_device: bool) -> None:
        """Say that the nodes have too little room, where they do: Ray waits for more of them."""
        room = self.room(threads, on_device=on_device)
        if room < processes:
            print(f"waiting for nodes: they have room for {room} of {processes} processes", flush=True)

    def room(self, threads: int, *, on_device: bool) -> int:
        """Return how many processes of so many threads the living nodes can hold."""
        room = 0
        for node in alive():
            here = int(node.get("CPU", 0) // threads)
            room += min(here, int(node.get("GPU", 0))) if self._gpus(on_device=on_device) else here
        return room

    def _gpus(self, *, on_device: bool) -> int:
        """Return how many GPUs a process takes."""
        return int(on_device and self.use_gpu)


def alive() -> list[dict[str, float]]:
    """Return what each living node of the cluster has: CPU, GPU, memory."""
    import ray

    return [node["Resources"] for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]


@contextmanager
def cluster(params: Params) -> Iterator[Ray]:
    """Yield a connection to the cluster that `params.engine` names; its nodes get the sources from here.

    Raises InputError where Ray is not installed, this process or the cluster asks for no token, none answers,
    and for what Ray itself cannot do meanwhile.
    """
    try:
        import ray
    except ImportError:
        command = "`pip install --constraint constraints.txt 'retrain[ray]'`"
        raise InputError(f"engine.name ray: Ray is not installed; {command}, or set it to local") from None
    if os.environ.get(AUTH_MODE) != "token":
        raise _open_to_all(f"{AUTH_MODE} is not token here")
    _reach(params.engine.address)
    environment = {name: os.environ[name] for name in HANDED_ON if name in os.environ}
    # Ray hides them from what asks for none only when it is told to
    gpus = {} if params.engine.use_gpu else {"CUDA_VISIBLE_DEVICES": ""}
    with TemporaryDirectory(prefix="retrain-") as folder:
        _copy_sources(Path(folder))
        try:
            ray.init(
                address=params.engine.address or "auto",
                runtime_env={"working_dir": folder, "env_vars": {**environment, **ON_NODES, **gpus}},
                logging_level=logging.WARNING,
                # what processes say that is worth hearing comes back with what they make
                log_to_driver=False,
            )
        except (ConnectionError, RuntimeError, SystemExit, ray.exceptions.RayError) as error:
            raise _unreached(params.engine.address, str(error)) from None
    try:
        _refuse_open(ray.get_runtime_context().gcs_address)
        yield Ray(params.problem, use_gpu=params.engine.use_gpu)
    except ray.exceptions.RayTaskError:
        raise
    except ray.exceptions.RayError as error:
        raise in_a_sentence(error) from None
    finally:
        ray.shutdown()


def _reach(address: str | None) -> None:
    """Raise InputError where nothing listens at an address: Ray would try for two minutes."""
    if address is None:
        return
    host, _, port = address.rpartition(":")
    # else another port would be asked, 65536 below
    if int(port) >= 2**16:
        raise _unreached(address, "ports are numbers up to 65535")
    try:
        socket.create_connection((host, int(port)), PATIENCE).close()
    except OSError as error:
        raise _unreached(address, error.strerror or str(error)) from None
    except UnicodeError as error:
        # no host has such a name
        raise _unreached(address, str(error)) from None


def _refuse_open(address: str) -> None:
    """Raise InputError where the head answers whoever has no token, whatever this process sends along.

    It is asked by gRPC over plain HTTP/2, whose errors are headers of the answer; not where Ray speaks TLS.
    """
    import httpx

    if os.environ.get(TLS, "").lower() in ("1", "true"):
        return
    try:
        with httpx.Client(http1=False, http2=True, trust_env=False, timeout=PATIENCE) as client:
            answer = client.post(f"http://{address}{ASKED}", content=EMPTY, headers=GRPC)
    except httpx.HTTPError as error:
        raise _unreached(address, str(error) or type(error).__name__) from None
    if answer.headers.get("grpc-status") != UNAUTHENTICATED:
        raise _open_to_all(f"the cluster at {address} answers whoever has no token")


def _open_to_all(which: str) -> InputError:
    why = "whoever reaches a Ray cluster without token authentication runs code on it"
    remedy = f"start all its nodes and this with {AUTH_MODE}=token and the token in ~/.ray/auth_token"
    return InputError(f"engine.name ray: {which}, and {why}; {remedy} (docs/ray.md)")


def _unreached(address: str | None, why: str) -> InputError:
    said = " ".join(why.split())[:WHY]
    remedy = "start one, and a node of it here, with `ray start`, all with the same token (docs/ray.md)"
    return InputError(
        f"engine.address: no Ray cluster answers at {address or 'any address'} ({said}); {remedy}"
    )


def _copy_sources(folder: Path) -> None:
    """Copy what stages run from: the sources of the current folder, and the versions that they ask for."""
    shutil.copytree("tasks", folder / "tasks", ignore=COMPILED)
    shutil.copyfile(PINS, folder / PINS)


def _taken(ref: "ObjectRef[Any]", look: Callable[[], None]) -> Any:
    """Return what came of a shard, once its files are written.

    look: is called again and again until the shard is there.
    """
    items, files = _awaited(ref, look)
    for name, content in files.items():
        write(Path(name), content)
    return items


def _awaited(ref: "ObjectRef[Any]", look: Callable[[], None]) -> Any:
    import ray

    while True:
        try:
            return ray.get(ref, timeout=LOOK)
        except ray.exceptions.GetTimeoutError:
            look()
        except ray.exceptions.RayTaskError as error:
            if isinstance(error.cause, InputError):
                raise error.cause from None
            raise


def in_a_sentence(error: "RayError") -> InputError:
    """Return what has become of a shard that Ray has not computed, or what else Ray could not do."""
    from ray import exceptions

    why = " ".join(str(error).split())[:WHY] or type(error).__name__
    lost = (
        exceptions.WorkerCrashedError,
        exceptions.NodeDiedError,
        exceptions.ObjectLostError,
        exceptions.OutOfMemoryError,
    )
    if isinstance(error, lost):
        often = f"a shard was lost with its process or node {RETRIES + 1} times"
        return InputError(f"engine.name ray: {often} ({why}); give its nodes more memory")
    again = "mend that on its nodes, and run the same command again"
    return InputError(f"engine.name ray: the cluster could not do its work ({why}); {again}")
