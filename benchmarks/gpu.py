"""How far a training uses the GPU: tokens per second, peak memory, and the share of the card's bf16 peak.

The share (model FLOPs utilisation) is 6 * parameters outside the embeddings * tokens per second
(Kaplan et al. 2020, arXiv 2001.08361: forward and backward pass, attention left out)
over the rate of a large bf16 matrix product measured on the same card. Padding does not count as tokens.
"""

import time
from pathlib import Path

import polars as pl
import torch
from safetensors import safe_open

from benchmarks.stopwatch import Stopwatch
from tasks.shared.params import Train
from tasks.train.epochs import EpochSampler

# of the square matrices: large enough that no card does better on larger ones
SIDE = 8192
PRODUCTS = 50


def use(params: Train, tokens: Path, checkpoint: Path, stopwatch: Stopwatch) -> dict[str, str] | None:
    """Return what the training that `stopwatch` timed in this process made of the GPU; None without one."""
    if not torch.cuda.is_available():
        return None
    peak_memory = torch.cuda.max_memory_allocated()
    rate = num_tokens(params, tokens, stopwatch.steps) / stopwatch.seconds
    best = matmul_rate(torch.device("cuda"))
    return {
        "device": torch.cuda.get_device_name(),
        "tokens/s": f"{rate:,.0f}",
        "peak memory (GiB)": f"{peak_memory / 2**30:.2f}",
        "measured bf16 peak (TFLOP/s)": f"{best / 1e12:,.0f}",
        "share of that peak": f"{6 * num_parameters(checkpoint) * rate / best:.1%}",
    }


def num_tokens(params: Train, tokens: Path, steps: int) -> int:
    """Return how many tokens, without padding, the first `steps` batches hold.

    The batches are in the order that the train stage draws.
    """
    lengths: list[int] = pl.read_ipc_stream(tokens, columns=["length"])["length"].to_list()
    size = params.per_device_train_batch_size
    sampler = EpochSampler(lengths, size, params.train_sampling_strategy, params.seed)
    total = 0
    while steps > 0:
        rows = list(sampler)[: steps * size]
        total += sum(lengths[row] for row in rows)
        steps -= -(-len(rows) // size)
        sampler.epoch += 1
    return total


def num_parameters(checkpoint: Path) -> int:
    """Return the number of weights outside the embeddings."""
    with safe_open(checkpoint / "model.safetensors", framework="pt") as weights:
        shapes = [weights.get_slice(name).get_shape() for name in weights.keys() if "embed" not in name]  # noqa: SIM118 (not a dict)
    return sum(torch.Size(shape).numel() for shape in shapes)


def matmul_rate(device: torch.device, side: int = SIDE, products: int = PRODUCTS) -> float:
    """Return the FLOP/s of bf16 products of two (side, side) matrices, the best of five series."""
    a, b = (torch.randn(side, side, dtype=torch.bfloat16, device=device) for _ in range(2))

    def seconds() -> float:
        _wait(device)
        began = time.perf_counter()
        for _ in range(products):
            torch.mm(a, b)
        _wait(device)
        return time.perf_counter() - began

    seconds()
    return 2 * side**3 * products / min(seconds() for _ in range(5))


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()
