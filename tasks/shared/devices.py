"""What this machine trains on, and in which number format."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tasks.shared.errors import InputError

# the limit of a control group and what is used of it, of either version
CGROUPS = (
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
    ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
)
# as /proc/cpuinfo spells them
NATIVE_BF16 = ("avx512_bf16", "amx_bf16")


def cpu_flags() -> frozenset[str]:
    """Return the instruction sets of the CPU; none where Linux does not tell."""
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        return frozenset()
    return frozenset(next((line.partition(":")[2] for line in lines if line.startswith("flags")), "").split())


def kind() -> str:
    """Return PyTorch's name of what this process computes on: cuda where there is such a device, else cpu."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def names() -> list[str]:
    """Return a name for each device that a stage here computes on: its CUDA devices, else the CPU."""
    import torch

    count = torch.cuda.device_count()
    return [f"gpu-{torch.cuda.get_device_properties(index).uuid}" for index in range(count)] or ["cpu"]


@contextmanager
def holds(what: str) -> Iterator[None]:
    """Raise InputError, that a device's memory does not hold this, where it is full within."""
    import torch

    try:
        yield
    except torch.OutOfMemoryError:
        raise InputError(f"the device's memory does not hold {what}") from None


def use_threads(count: int | None) -> None:
    """Compute with so many CPU threads; None: as many as there are cores, or as OMP_NUM_THREADS says."""
    import torch

    if count is not None:
        torch.set_num_threads(count)


def describe() -> dict[str, str | int]:
    """Return what of the device decides bits: its class, and how many threads share a sum."""
    import torch

    if kind() == "cuda":
        return {"device": torch.cuda.get_device_name(), "threads": torch.get_num_threads()}
    native = [flag for flag in NATIVE_BF16 if flag in cpu_flags()]
    return {
        "device": " ".join(["cpu", torch.backends.cpu.get_cpu_capability().lower(), *native]),
        "threads": torch.get_num_threads(),
    }


def described(threads: int) -> list[dict[str, str | int]]:
    """Return what of the device decides bits, in a process with so many threads."""
    use_threads(threads)
    return [describe()]


def precision(wanted: str) -> str:
    """Return fp32, bf16 or fp16 for `wanted`; raise InputError for what the device cannot do."""
    import torch

    cuda = kind() == "cuda"
    if wanted == "auto":
        native = (
            torch.cuda.is_bf16_supported(including_emulation=False)
            if cuda
            else any(flag in cpu_flags() for flag in NATIVE_BF16)
        )
        return "bf16" if native else "fp32"
    if wanted == "fp16" and not cuda:
        raise InputError(
            "train.precision: fp16 needs a CUDA device and there is none; use auto, bf16 or fp32"
        )
    return wanted


def processes(wanted: int | None) -> int:
    """Return how many training processes to start: one per CUDA device, else one."""
    if wanted is not None or (
        "CUDA_VISIBLE_DEVICES" in os.environ and not os.environ["CUDA_VISIBLE_DEVICES"]
    ):
        return wanted or 1
    import torch

    return max(1, torch.cuda.device_count())


def free_memory() -> int | None:
    """Return how many bytes could still be taken: of the CUDA device, else the machine and control group."""
    import torch

    if kind() == "cuda":
        return int(torch.cuda.mem_get_info()[0])
    import psutil

    free = int(psutil.virtual_memory().available)
    for limit, used in CGROUPS:
        try:
            left = int(Path(limit).read_text("ascii")) - int(Path(used).read_text("ascii"))
        except (OSError, ValueError):
            # there is none, or `max`
            continue
        # what the kernel has cached counts as used, and is given back
        free = min(free, left + _cached(Path(used).with_name("memory.stat")))
    return free


def _cached(file: Path) -> int:
    try:
        lines = dict(line.split(" ", 1) for line in file.read_text("ascii").splitlines())
        return int(lines.get("inactive_file", lines.get("total_inactive_file", 0)))
    except (OSError, ValueError):
        return 0
