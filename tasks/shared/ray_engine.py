"""A Ray cluster that computes shards: nodes that share no disk, any of which may die.

Code travels as Ray's runtime environment: the sources of the stages and their pins as they stand in the
current folder. Functions, shards and what comes of them travel as cloudpickle makes them, between processes
of one user that know the cluster's token (docs/security.md).
"""

import fcntl
import logging
import os
import shutil
import socket
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache, lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir, mkdtemp
from typing import TYPE_CHECKING, Any

from tasks.shared.engine import Files, Item, Shard
from tasks.shared.errors import InputError
from tasks.shared.files import private_folder
from tasks.shared.params import Params
from tasks.shared.stage import ANY_VERSION, PINS, check_pins

if TYPE_CHECKING:
    from ray import ObjectRef

# how often a shard is computed anew that went down with its process or node: one that fills any memory ends
RETRIES = 8
# shards for each CPU of the cluster that are sent ahead
AHEAD = 2
PATIENCE = 10.0  # seconds for the head to answer
AUTH_MODE = "RAY_AUTH_MODE"
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
    ) -> Iterator[Item]:
        """Yield what `function` yields for each shard, in the shards' order; a few are computed ahead.

        Raises InputError as the function does, for a file outside the current folder, where no node has so
        many CPUs, and when a shard was lost with its process or node RETRIES times.
        """
        import ray

        needs = {"num_cpus": threads, "num_gpus": int(self.use_gpu)}
        compute = ray.remote(_computed).options(**needs, max_retries=RETRIES, scheduling_strategy="SPREAD")
        # in a list, so that it is no argument that Ray hands over anew with each shard
        held = [ray.put(function)]
        waiting: deque[ObjectRef[Any]] = deque()
        room = self.refuse_too_few(threads)
        for shard in shards:
            if len(waiting) >= AHEAD * room:
                yield from _taken(waiting.popleft())
            files = {name_of(path): path.read_bytes() for path in (reads(shard) if reads else ())}
            folder = name_of(writes) if writes else None
            waiting.append(compute.remote(self.problem, held, shard, files, folder, threads))
        while waiting:
            yield from _taken(waiting.popleft())

    def chunks(self, items: Sequence[Item], most: int) -> Iterator[Sequence[Item]]:
        """Yield the items as shards of `most` at most."""
        for start in range(0, len(items), most):
            yield items[start : start + most]

    def refuse_too_few(self, threads: int, processes: int = 1) -> int:
        """Return how many processes of so many threads the nodes have room for.

        Raises InputError where that is less than `processes`: Ray would wait for more.
        """
        room = self.room(threads)
        if room < processes:
            gpu = " and a GPU" if self.use_gpu else ""
            raise InputError(
                f"engine.name ray: the nodes have room for {room} of {processes} processes with {threads} "
                f"CPUs{gpu} each; start more nodes or larger ones, or set train.num_threads or "
                "OMP_NUM_THREADS lower"
            )
        return room

    def room(self, threads: int) -> int:
        """Return how many processes of so many threads the living nodes can hold."""
        room = 0
        for node in alive():
            here = int(node.get("CPU", 0) // threads)
            room += min(here, int(node.get("GPU", 0))) if self.use_gpu else here
        return room


def alive() -> list[dict[str, float]]:
    """Return what each living node of the cluster has: CPU, GPU, memory."""
    import ray

    return [node["Resources"] for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]


@contextmanager
def cluster(params: Params) -> Iterator[Ray]:
    """Yield a connection to the cluster that `params.engine` names; its nodes get the sources from here.

    Raises InputError where Ray is not installed, the cluster asks for no token, or none answers.
    """
    try:
        import ray
    except ImportError:
        command = "`pip install --constraint constraints.txt 'retrain[ray]'`"
        raise InputError(f"engine.name ray: Ray is not installed; {command}, or set it to local") from None
    if os.environ.get(AUTH_MODE) != "token":
        open_to_all = "whoever reaches a Ray cluster without token authentication runs code on it"
        remedy = f"start its nodes and this with {AUTH_MODE}=token and the token in ~/.ray/auth_token"
        raise InputError(f"engine.name ray: {open_to_all}; {remedy} (docs/ray.md)")
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
        yield Ray(params.problem, use_gpu=params.engine.use_gpu)
    finally:
        ray.shutdown()


def _reach(address: str | None) -> None:
    """Raise InputError where nothing listens at an address: Ray would try for two minutes."""
    if address is None:
        return
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), PATIENCE).close()
    except OSError as error:
        raise _unreached(address, error.strerror or str(error)) from None


def _unreached(address: str | None, why: str) -> InputError:
    said = " ".join(why.split())[:300]
    remedy = "start one, and a node of it here, with `ray start`, all with the same token (docs/ray.md)"
    return InputError(
        f"engine.address: no Ray cluster answers at {address or 'any address'} ({said}); {remedy}"
    )


def _copy_sources(folder: Path) -> None:
    """Copy what stages run from: the sources of the current folder, and the versions that they ask for."""
    shutil.copytree("tasks", folder / "tasks", ignore=COMPILED)
    shutil.copyfile(PINS, folder / PINS)


def name_of(path: Path) -> str:
    """Return a file's name in the current folder, or raise InputError: nodes write where it stands there."""
    plain = Path(os.path.normpath(path))
    if plain.is_absolute() or ".." in plain.parts:
        outside = f"nodes get files by their places in the repository, and {path} is not named by its own"
        remedy = "copy it to data/, or name it as it is called from there, or set engine.name to local"
        raise InputError(f"engine.name ray: {outside}; {remedy}")
    return plain.as_posix()


def _taken(ref: "ObjectRef[Any]") -> Any:
    """Return what came of a shard, once its files are written."""
    import ray

    try:
        items, files = ray.get(ref)
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, InputError):
            raise error.cause from None
        raise
    except ray.exceptions.RayError as error:
        lost = f"a shard was lost with its process or node {RETRIES + 1} times"
        why = " ".join(str(error).split())[:300]
        raise InputError(f"engine.name ray: {lost} ({why}); give its nodes more memory") from None
    for name, content in files.items():
        write(Path(name), content)
    return items


def write(file: Path, content: bytes) -> None:
    """Write a file below the current folder, whole or not at all; raise InputError for one outside."""
    file = Path(name_of(file))
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_name(f"{file.name}.{os.getpid()}.part")
    part.write_bytes(content)
    part.replace(file)


# in a process of a node


def _computed(
    problem: str,
    held: "list[ObjectRef[Any]]",
    shard: Any,
    files: Mapping[str, bytes],
    writes: str | None,
    threads: int,
) -> tuple[list[Any], dict[str, bytes]]:
    """Return what a function makes of a shard, and the files that it wrote, by their names."""
    prepare(problem)
    _use_threads(threads)
    return compute(_function(held[0]), shard, files, writes)


def compute(
    function: Callable[[Any], Iterable[Any]],
    shard: Any,
    files: Mapping[str, bytes],
    writes: str | None,
) -> tuple[list[Any], dict[str, bytes]]:
    """Return what a function makes of a shard where no other files are, and those that it wrote."""
    with scratch(files):
        items = list(function(shard))
        written = contents(Path(writes)) if writes else {}
        return items, {name: content for name, content in written.items() if name not in files}


@lru_cache(maxsize=1)
def _function(ref: "ObjectRef[Any]") -> Callable[[Any], Iterable[Any]]:
    """Return a function, fetched once for all shards that this process computes."""
    import ray

    function: Callable[[Any], Iterable[Any]] = ray.get(ref)
    return function


@cache
def prepare(problem: str) -> None:
    """Raise InputError when a library of this node is not the pinned one."""
    check_pins(problem, Path(__file__).parents[2])


def _use_threads(count: int) -> None:
    """Compute with so many threads, where anything does: they decide the order of sums."""
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(count)


@contextmanager
def scratch(files: Mapping[str, bytes]) -> Iterator[None]:
    """Work in a folder that holds these files, by their names, and is gone afterwards.

    A process that is killed leaves its folder; the next one on that machine takes it away.
    """
    all_of_them = _own_folder()
    for left in all_of_them.glob("[!.]*"):
        with _held(left) as is_mine:
            if is_mine:
                shutil.rmtree(left, ignore_errors=True)
    before, folder = Path.cwd(), Path(mkdtemp(prefix=".", dir=all_of_them))
    with _held(folder):
        # others see it as one once it is held
        folder = folder.rename(all_of_them / folder.name.removeprefix("."))
        os.chdir(folder)
        try:
            for name, content in files.items():
                write(Path(name), content)
            yield
        finally:
            os.chdir(before)
            shutil.rmtree(folder, ignore_errors=True)


def _own_folder() -> Path:
    """Return where processes of this user on this machine work; raise InputError where it is another's."""
    folder = private_folder(Path(gettempdir()) / f"retrain-{os.geteuid()}")
    if folder.stat().st_uid != os.geteuid():
        raise InputError(f"{folder} belongs to another user; remove it, or set TMPDIR on this node")
    return folder


@contextmanager
def _held(folder: Path) -> Iterator[bool]:
    """Hold a folder, unless it is gone or another process holds it; yield whether it is held."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:
        yield False
        return
    try:
        yield _locked(descriptor)
    finally:
        os.close(descriptor)


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def contents(folder: Path, name: Path | None = None) -> dict[str, bytes]:
    """Return the files below a folder, by their names in the current one.

    name: as if the folder were called so there.
    """
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {((name or folder) / path.relative_to(folder)).as_posix(): path.read_bytes() for path in files}
