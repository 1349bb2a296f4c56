"""What this machine trains on, and in which number format."""

import os
from pathlib import Path

from tasks.shared.choices import Precision
from tasks.shared.errors import InputError

NATIVE_BF16 = ("avx512_bf16", "amx_bf16")  # as /proc/cpuinfo spells them


def cpu_flags() -> frozenset[str]:
    """Return the instruction sets of the CPU; none where Linux does not tell."""
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        return frozenset()
    return frozenset(next((line.partition(":")[2] for line in lines if line.startswith("flags")), "").split())


def is_cpu() -> bool:
    """Return whether there is no CUDA device to use."""
    import torch

    return not torch.cuda.is_available()


def names() -> list[str]:
    """Return a name for each device that a stage here computes on: its CUDA devices, else the CPU."""
    import torch

    count = torch.cuda.device_count()
    return [f"gpu-{torch.cuda.get_device_properties(index).uuid}" for index in range(count)] or ["cpu"]


def use_threads(count: int | None) -> None:
    """Compute with so many threads of the CPU; None: as many as there are cores, or as OMP_NUM_THREADS says."""
    import torch

    if count is not None:
        torch.set_num_threads(count)


def describe() -> dict[str, str | int]:
    """Return what of the device decides bits: its class, and how many threads share a sum."""
    import torch

    if torch.cuda.is_available():
        return {"device": torch.cuda.get_device_name(), "threads": torch.get_num_threads()}
    native = [flag for flag in NATIVE_BF16 if flag in cpu_flags()]
    return {"device": " ".join(["cpu", torch.backends.cpu.get_cpu_capability().lower(), *native]), "threads": torch.get_num_threads()}


def precision(wanted: str) -> str:
    """Return fp32, bf16 or fp16 for `wanted`; raise InputError for what the device cannot do."""
    import torch

    cuda = torch.cuda.is_available()
    if wanted == Precision.auto:
        native = torch.cuda.is_bf16_supported(including_emulation=False) if cuda else any(flag in cpu_flags() for flag in NATIVE_BF16)
        return "bf16" if native else "fp32"
    if wanted == Precision.fp16 and not cuda:
        raise InputError("train.precision: fp16 needs a CUDA device and there is none; use auto, bf16 or fp32")
    return wanted


def processes(wanted: int | None) -> int:
    """Return how many training processes to start: one per CUDA device, else one."""
    if wanted is not None or ("CUDA_VISIBLE_DEVICES" in os.environ and not os.environ["CUDA_VISIBLE_DEVICES"]):
        return wanted or 1
    import torch

    return max(1, torch.cuda.device_count())
