"""What a stage took, noted by its own process outside its outputs, under either driver.

Each stage has a file `.retrain/costs/STAGE.jsonl`, a line of JSON for each time it ran, the newest last.
"""

import json
import os
import resource
import sys
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import psutil
from pydantic import Field, TypeAdapter, ValidationError

from tasks.shared.files import private_folder, read_json, replace
from tasks.shared.params import Params
from tasks.shared.role import role

FOLDER = Path(".retrain/costs")
# stages that `params.engine` computes, and those of them that take a GPU of a node where it says so
BY_ENGINE, ON_DEVICE = ("ingest", "tokenize", "train", "evaluate"), ("train", "evaluate")
# bytes of a file above which only its newest lines are kept, and how many those are
LARGEST, KEPT = 64_000, 50

Positive = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Bytes = Annotated[int, Field(ge=0)]


@dataclass(frozen=True)
class Cost:
    """What a stage took once, and what of.

    seconds: how long its process lived, less what it waited for a device. memory: the most bytes that the
    largest of its processes had in memory, with the libraries it shares with the fork server; None where the
    system does not tell. device_memory: the most bytes that PyTorch held on the GPU; None without one, or
    where other processes compute. rows: what ingest had read. size: bytes of the data, for ingest alone.
    is_rest: it went on from a checkpoint, so that a whole one takes longer. engine: `engine.name`.
    processes: how many train, as params say. epochs, steps: by which of them training was to end; the other
    is None, as both are of other stages. Where nodes of a Ray cluster compute, device says so, and memory is
    None.
    """

    seconds: Positive
    memory: Bytes | None
    device: str
    device_memory: Bytes | None = None
    problem: str = ""
    model: str = ""
    epochs: Positive | None = None
    rows: Bytes | None = None
    size: Bytes | None = None
    is_rest: bool = False
    engine: str = "local"
    processes: str = ""
    steps: Bytes | None = None


COST = TypeAdapter(Cost)


@dataclass
class Course:
    """What of the time of this process, which is one stage's, says nothing of how long another run takes.

    waited: seconds for a slot of the device. is_rest: whether training goes on from a checkpoint.
    """

    waited: float = 0.0
    is_rest: bool = False


# changed by who waits, and who goes on: tasks.shared.slots and tasks.train
COURSE = Course()


def note(stage: str, params: Params) -> dict[str, Any]:
    """Add what the stage that ends now has taken to its file; return it as JSON holds it.

    One of several processes notes nothing: who started them does. All is done by now, so neither a
    full disk nor a device that does not answer fails the stage.
    """
    if role().is_started:
        return {}
    cost: dict[str, Any] = {}
    with suppress(OSError, RuntimeError, psutil.Error):
        cost = asdict(_cost(stage, params))
        file = private_folder(FOLDER) / f"{stage}.jsonl"
        with file.open("a", encoding="utf-8") as lines:
            # the line before may be torn
            lines.write(f"\n{json.dumps(cost)}")
        if file.stat().st_size > LARGEST:
            noted = [line for line in file.read_text("utf-8", "replace").splitlines() if line]
            replace(file, "\n".join(noted[-KEPT:]))
    return cost


def told(cost: Any) -> Cost | None:
    """Return what a stage has told, whose code may be of another commit; None where it is no cost as here."""
    try:
        return COST.validate_python(cost)
    except ValidationError:
        return None


def model_of(params: Params) -> str:
    """Return what tells models of unlike size apart: the base model's name, or what it is built from."""
    return params.model.name or json.dumps(params.model.from_scratch, sort_keys=True)


def epochs_of(stage: str, params: Params) -> float | None:
    """Return how often a stage goes through its rows, where params say."""
    return params.train.num_train_epochs if stage == "train" and params.train.max_steps <= 0 else None


def steps_of(stage: str, params: Params) -> int | None:
    """Return how many steps training takes, where params say."""
    return params.train.max_steps if stage == "train" and params.train.max_steps > 0 else None


def processes_of(stage: str, params: Params) -> str:
    """Return how many processes train, as params say; nothing where they do not, or of other stages."""
    each, machines = params.train.distributed.nproc_per_node, params.train.distributed.nnodes
    if stage != "train" or (each is None and machines == 1):
        return ""
    return f"{each or 'a GPU each'} on {machines}"


def size_of(data: Path) -> int | None:
    """Return the bytes of a file or of all files in a folder; None where nothing is, or some of it goes."""
    if not data.exists():
        return None
    try:
        files = data.rglob("*") if data.is_dir() else [data]
        return sum(file.stat().st_size for file in files if file.is_file())
    except OSError:
        return None


def rows_in(metrics: Path) -> int | None:
    """Return how many rows ingest has read, as its metrics say; None where they do not."""
    try:
        rows = read_json(metrics / "ingest.json")["rows"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    return rows if isinstance(rows, int) and rows >= 0 else None


def _cost(stage: str, params: Params) -> Cost:
    is_here = params.engine.name == "local" or stage not in BY_ENGINE
    device, on_device = _device() if is_here else (_nodes(stage, params), None)
    return Cost(
        seconds=round(max(0.0, _age() - COURSE.waited), 2),
        memory=_memory() if is_here else None,
        device=device,
        device_memory=on_device,
        problem=params.problem,
        model=model_of(params),
        epochs=epochs_of(stage, params),
        rows=rows_in(Path("metrics")),
        size=size_of(Path(params.data.path)) if stage == "ingest" else None,
        is_rest=COURSE.is_rest,
        engine=params.engine.name,
        processes=processes_of(stage, params),
        steps=steps_of(stage, params),
    )


def _nodes(stage: str, params: Params) -> str:
    """Return what a stage computed on whose shards or processes were a cluster's."""
    of_gpus = "GPUs of " if params.engine.use_gpu and stage in ON_DEVICE else ""
    return f"{of_gpus}nodes of a Ray cluster"


def _device() -> tuple[str, int | None]:
    """Return what the stage computed on, and the most bytes held there where that is a GPU."""
    # whoever has not imported torch computes on the CPU
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        used = torch.cuda.max_memory_reserved() if torch.cuda.is_initialized() else None
        return str(torch.cuda.get_device_name()), used or None
    return f"cpu, {len(os.sched_getaffinity(0)) if sys.platform == 'linux' else os.cpu_count()} cores", None


def _age() -> float:
    """Return for how many seconds this process has lived: its imports are of what it takes."""
    return time.time() - float(psutil.Process().create_time())


def _memory() -> int | None:
    """Return the most bytes that this process, or the largest that it has waited for, had in memory.

    VmHWM, since rusage of a process that was started anew begins with the most that its parent ever had.
    """
    try:
        status = Path("/proc/self/status").read_text("ascii", errors="replace")
    except OSError:
        return None
    own = next((line for line in status.splitlines() if line.startswith("VmHWM:")), "VmHWM: 0 kB")
    # KiB; a small child's, which begins with this process's own, changes nothing
    children = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    return 1024 * max(int(own.split()[1]), children)
