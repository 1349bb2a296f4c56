"""The processes of a training: this one alone, or several on one machine or more, started as torchrun does.

Whoever starts them otherwise (torchrun itself, Ray Train) sets RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR and
MASTER_PORT in each, and calls `take_part` there.
"""

import logging
import os
import shutil
import signal
import socket
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks import problems
from tasks.shared import base_models, devices, tracking
from tasks.shared.errors import InputError, MemoryFullError
from tasks.shared.params import Params
from tasks.shared.params.train import Distributed
from tasks.shared.paths import Paths
from tasks.shared.role import Role, role
from tasks.shared.stage import FAILED
from tasks.shared.tracking import Journal
from tasks.train.resume import resume_folder

if TYPE_CHECKING:
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

MODULE = "tasks.train"
# how a process ends whose device's memory was full, having written down what to try next
OUT_OF_MEMORY = 75
# seconds that the others have to save a checkpoint when they are asked to end; more than a run gives a stage
GRACE = 30
# how often processes of one machine are started that cannot reach each other
TRIES = 3
ADDRESS, PORT, NODE = "MASTER_ADDR", "MASTER_PORT", "NODE_RANK"
USUAL_PORT = "29500"


def start(params: Params) -> None:
    """Train in this process, or in as many as params say, as children of it.

    Exits with status 1 when one of them fails: it has said why. Raises InputError.
    """
    mine = role()
    refuse(params, mine)
    if not mine.is_started and params.engine.name == "ray":
        _on_nodes(params, world_size(params, mine))
        return
    if not mine.is_started and world_size(params, mine) > 1:
        _launch(params, world_size(params, mine))
        return
    try:
        take_part(params, mine)
    except MemoryFullError:
        # whoever launched this process starts all of them again
        if params.train.distributed.nnodes > 1 or not mine.is_torchruns:
            raise
        sys.exit(OUT_OF_MEMORY)
    except RuntimeError as error:
        if not mine.is_torchruns or not _is_of_another(error):
            raise
        # the other says why, or who launched it says that it was killed
        sys.exit(FAILED)


def world_size(params: Params, mine: Role) -> int:
    """Return how many processes train together, on all machines."""
    if mine.is_started:
        return mine.size
    wanted = params.train.distributed
    return devices.processes(wanted.nproc_per_node) * wanted.nnodes


def take_part(params: Params, mine: Role) -> None:
    """Do this process's part of the training, which is all of it where it is alone.

    The first process writes the outputs. Raises InputError.
    """
    from tasks.train import train

    with _kept(params, world_size(params, mine)) as (resume, journal):
        problem = problems.load(params.problem, params.own)
        base = base_models.fetch(params.model)
        # several wait for each other: whoever launched them starts all again
        train(params.train, base, problem, Paths(), resume, journal, retries=not mine.is_started)


@contextmanager
def _kept(
    params: Params, processes: int, device: Mapping[str, str | int] | None = None
) -> Iterator[tuple[Path, Journal]]:
    """Yield the folder of a training's checkpoints and its journal, which hears in the end what was made.

    device: what it trains on; None: this process's.
    """
    with (
        resume_folder(params, Paths(), processes, device) as resume,
        tracking.training(params, resume.name) as journal,
    ):
        yield resume, journal
        journal.made(Paths())


def refuse(params: Params, mine: Role) -> None:
    """Raise InputError for processes that cannot train together."""
    wanted, processes = params.train.distributed, world_size(params, mine)
    if wanted.strategy == "fsdp" and processes == 1:
        raise InputError(
            "train.distributed.strategy: fsdp gives each of several processes a shard, and there is one; "
            "set train.distributed.nproc_per_node to 2 or more, or strategy to ddp"
        )
    if wanted.nnodes > 1 and not mine.is_started and params.engine.name == "local":
        _node(wanted)


def _is_of_another(error: RuntimeError) -> bool:
    """Return whether a process has failed because another one was gone; gloo has no class for that."""
    from torch.distributed import DistError

    return isinstance(error, DistError) or "gloo" in str(error)


def _node(wanted: Distributed) -> int:
    """Return which of the machines this is; raise InputError where the environment does not say it."""
    missing = [name for name in (ADDRESS, NODE) if not os.environ.get(name)]
    if missing:
        raise InputError(
            f"train.distributed.nnodes: {wanted.nnodes} machines train together, and {' and '.join(missing)} "
            f"is not set; give each machine {ADDRESS} (the first one's), {PORT} (or {USUAL_PORT}) and {NODE}"
        )
    node, port = os.environ[NODE], os.environ.get(PORT, USUAL_PORT)
    if not node.isdecimal() or int(node) >= wanted.nnodes:
        raise InputError(f"{NODE}: '{node}' is none of {wanted.nnodes} machines; they count from 0")
    if not port.isdecimal() or not 0 < int(port) < 2**16:
        raise InputError(f"{PORT}: '{port}' is no port; give a number from 1 to 65535")
    return int(node)


def _launch(params: Params, processes: int) -> None:
    """Run the stage's module once per device, with the workers as our own children.

    Where memory was full, start them again: each has written down, beside its checkpoints, what to try next.
    """
    from torch.distributed import DistNetworkError
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import elastic_launch

    wanted = params.train.distributed
    here = devices.processes(wanted.nproc_per_node)
    _prepare(wanted, here)
    failures = 0
    while True:
        try:
            elastic_launch(_config(wanted, here), sys.executable)("-m", MODULE)
        except ChildFailedError as error:
            if wanted.nnodes == 1 and _memory_was_full(error):
                continue
            _say(error, processes)
            sys.exit(FAILED)
        except DistNetworkError as error:
            if wanted.nnodes > 1:
                raise
            # somebody else may have taken the port meanwhile
            failures += 1
            if failures == TRIES:
                why = " ".join(str(error).split())
                raise InputError(f"the processes of a training cannot reach each other: {why}") from None
            continue
        except SignalException as error:
            # the workers have kept a checkpoint
            sys.exit(128 + error.sigval)
        return


def _prepare(wanted: Distributed, processes: int) -> None:
    """Set what so many processes here find in their environment, and have torch say less."""
    os.environ.setdefault("OMP_NUM_THREADS", str(_threads_each(processes)))
    if wanted.nnodes == 1 and sys.platform == "linux":
        for library in ("GLOO", "NCCL"):
            os.environ.setdefault(f"{library}_SOCKET_IFNAME", "lo")
    # torch says that parts of a model may go unused, that it was asked to end, and how to find out more
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    logging.disable(logging.CRITICAL)


def _config(wanted: Distributed, processes: int) -> Any:
    """Return what torchrun would make of `--nproc-per-node`, `--nnodes` and `--master-addr`."""
    from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs
    from torch.distributed.launcher.api import LaunchConfig

    endpoint, node = f"127.0.0.1:{_free_port()}", 0
    if wanted.nnodes > 1:
        endpoint, node = f"{os.environ[ADDRESS]}:{os.environ.get(PORT, USUAL_PORT)}", _node(wanted)
    return LaunchConfig(
        min_nodes=wanted.nnodes,
        max_nodes=wanted.nnodes,
        nproc_per_node=processes,
        max_restarts=0,
        run_id="train",
        shutdown_timeout=GRACE,
        # they write to this process's streams; else it would leave a folder in /tmp
        logs_specs=DefaultLogsSpecs(log_dir=os.devnull),
        # torchrun's own --standalone unpickles what it finds in its store, which listens on all addresses
        rdzv_backend="static",
        rdzv_endpoint=endpoint,
        rdzv_configs={"rank": node},
    )


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
    return port


def _memory_was_full(error: "ChildFailedError") -> bool:
    return any(failure.exitcode == OUT_OF_MEMORY for failure in error.failures.values())


def _say(error: "ChildFailedError", processes: int) -> None:
    """Say which worker was killed; any other has said why it fails."""
    for rank, failure in sorted(error.failures.items()):
        # the launcher itself ends the others with SIGTERM
        if failure.exitcode < 0 and failure.exitcode != -signal.SIGTERM:
            name = signal.Signals(-failure.exitcode).name
            killed = f"process {rank} of {processes} was killed ({name})"
            raise InputError(f"{killed}; run the same command again, which goes on from the last checkpoint")


def _on_nodes(params: Params, processes: int) -> None:
    """Train in processes of a Ray cluster's nodes; what they leave comes back here."""
    import torch

    from tasks.shared.ray_engine import cluster
    from tasks.train import ray

    here = devices.processes(params.train.distributed.nproc_per_node)
    # as many as each would have here
    threads = params.train.num_threads or (torch.get_num_threads() if processes == 1 else _threads_each(here))
    with cluster(params) as engine:
        (device,) = engine.map(devices.described, [threads], threads=threads, on_device=True)
        with _kept(params, processes, device) as (resume, journal):
            ray.run(params, engine, processes, threads, resume, journal)
            shutil.rmtree(resume)


def _threads_each(processes: int) -> int:
    """Return the threads of each of several processes on a machine like this one."""
    # OpenMP takes a list of them, one for each level of nesting
    given = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    if not given:
        return max(1, (os.cpu_count() or 1) // processes)
    if not given.isdecimal() or int(given) == 0:
        raise InputError(f"OMP_NUM_THREADS: '{given}' is no number of threads; give 1 or more")
    return int(given)
