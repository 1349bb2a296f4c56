"""What each option of docs/gpu.md gives on this card: tokens per second, share of its peak, memory."""

import sys
import tempfile
from contextlib import redirect_stdout
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from benchmarks.measure import Options, Table
from benchmarks.training import prepare, results_of
from tasks.shared import devices
from tasks.shared.params import Params
from tasks.shared.params_file import save

TITLE = "Training on one GPU"
FLASH = "bf16, flash attention"
# what is laid over params.train
WAYS: dict[str, dict[str, Any]] = {
    "fp32": {"precision": "fp32"},
    "bf16": {"precision": "bf16"},
    "bf16, eager attention": {"precision": "bf16", "attn_implementation": "eager"},
    FLASH: {"precision": "bf16", "attn_implementation": "flash_attention_2"},
    "bf16, torch.compile": {"precision": "bf16", "torch_compile": True},
    "bf16, activation checkpointing": {"precision": "bf16", "activation_checkpointing": True},
}


def measure(options: Options) -> list[Table]:
    """Return a row per option, each trained in a process of its own; none without a GPU, and that is said."""
    if devices.kind() == "cpu":
        return [Table(TITLE, ("option",), [], notes=["no CUDA device: skipped"])]
    found: dict[str, dict[str, str]] = {}
    notes = []
    with tempfile.TemporaryDirectory(prefix="retrain-bench-") as folder:
        here = Path(folder)
        with redirect_stdout(sys.stderr):
            params = prepare(here, options)
        for number, (name, change) in enumerate(WAYS.items()):
            if name == FLASH and find_spec("flash_attn") is None:
                notes.append(f"{name}: skipped, flash-attn is not installed")
                continue
            found[name] = _use(params, change, here / f"{number}.yaml")
    columns = tuple(next(iter(found.values())))
    rows = [[name, *use.values()] for name, use in found.items()]
    return [Table(TITLE, ("option", *columns), rows, notes=notes)]


def _use(params: Params, change: dict[str, Any], file: Path) -> dict[str, str]:
    """Return what one training makes of the GPU."""
    changed = params.model_dump()
    changed["train"] |= change
    save(Params.model_validate(changed), file)
    results = results_of(["benchmarks.training", str(file)], file.parent, accuracy=False)
    use: dict[str, str] = results["gpu"]
    return use
