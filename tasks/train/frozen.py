"""What a frozen encoder answers to each row, computed once and mapped into memory from then on.

In each epoch it would be the same: the encoder's weights stay, it drops nothing, and rows are not changed.
"""

import hashlib
import json
import math
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset as Rows

from tasks.problems.common import predicting
from tasks.shared import devices
from tasks.shared.errors import InputError
from tasks.shared.files import read_json, sha256, write_json
from tasks.shared.keys import fingerprint
from tasks.shared.locks import alone, alone_if_free, forget
from tasks.shared.params import Train
from tasks.shared.progress import Progress
from tasks.train import size

if TYPE_CHECKING:
    from datasets import Dataset

    from tasks.train.trainer import SeededTrainer

# beside the outputs: what stands here can be made again, to the same bits
ENCODED = Path(".retrain/encoded")
# rows that are read at once, whatever a batch of the training has: so the same bits come of each row
AT_ONCE = 8
# bytes of what is kept at most; more is read from the disk more slowly than it is computed
MOST = 64 * 2**30
# written last, so its existence proves the rest
COMPLETE = "complete.json"
OUTPUTS = "encoder_outputs"
DROPS = ("dropout", "attention_dropout", "activation_dropout", "layerdrop")


class EncodedRows(Rows[dict[str, Any]]):
    """Rows with what the encoder answers in the place of what it reads."""

    def __init__(self, data: "Dataset", outputs: Tensor, reads: str) -> None:
        self.data, self.outputs = data.remove_columns([reads]), outputs

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, number: int) -> dict[str, Any]:
        return {**self.data[number], OUTPUTS: self.outputs[number]}


def keep(run: "SeededTrainer", params: Train, data: "Mapping[str, Dataset]") -> None:
    """Have a training see what its frozen encoder answers instead of having it read each row in each epoch.

    data: its splits. A training that trains the encoder, or has none, is left as it is; where only something
    else is in the way, it is said what. Raises InputError where the disk has no room.
    """
    if not run.model.config.is_encoder_decoder or size.is_trained(run.model.get_encoder()):
        return
    shapes = {split: _shape(run, rows) for split, rows in data.items()}
    other = "" if params.encoder_cache == "off" else _why_not(run, data["train"], shapes)
    if params.encoder_cache == "off" or other:
        if other:
            print(f"the frozen encoder reads each row in each epoch: {other}", flush=True)
        return
    folder = ENCODED / _key(run, data)
    with alone(folder.with_name(f"{folder.name}.lock")):
        _drop_others(folder)
        found = {split: _mapped(folder / split, run, data[split], shapes[split]) for split in data}
    megabytes = sum(outputs.nbytes for outputs in found.values()) / size.MB
    print(f"what the frozen encoder answers is kept: {megabytes:,.0f} MB in {ENCODED}", flush=True)
    reads = run.problem.encoder_reads
    run.train_dataset, run.eval_dataset = (
        EncodedRows(data[split], found[split], reads) for split in ("train", "validation")
    )


def _why_not(run: "SeededTrainer", train: "Dataset", shapes: Mapping[str, list[int]]) -> str:
    """Return why what the encoder answers is not kept; empty where it is.

    The disk has no say: rounding goes by it.
    """
    arguments, problem = run.args, run.problem
    steps = arguments.max_steps * arguments.train_batch_size * arguments.gradient_accumulation_steps
    reads = steps if arguments.max_steps > 0 else arguments.num_train_epochs * len(train)
    dropping = _dropping(run.model.get_encoder())
    bytes_ = sum(math.prod(shape) for shape in shapes.values()) * size.FLOAT
    if not problem.encoder_reads or not shapes["train"]:
        return f"{problem.task} gives it more than one input, or inputs of any length"
    if dropping:
        return f"it has {dropping} in training"
    if problem.augments:
        return "train rows are seen otherwise in each epoch"
    if arguments.world_size > 1:
        return f"{arguments.world_size} processes train"
    if reads <= len(train):
        return "it reads them once"
    return f"it answers with {bytes_ / 2**30:,.0f} GB" if bytes_ > MOST else ""


def _dropping(encoder: nn.Module) -> str:
    """Return what an encoder leaves out at random in training, such as dropout; empty where it does not."""
    for module in encoder.modules():
        if isinstance(module, nn.Dropout) and module.p > 0:
            return "dropout"
        for name in DROPS:
            share = getattr(module, name, 0.0)
            if isinstance(share, (int, float)) and share > 0:
                return name
    return ""


def _inputs(run: "SeededTrainer", rows: "Dataset", numbers: Sequence[int]) -> dict[str, Any]:
    names = predicting.given(run.problem, rows.column_names)
    some = rows.select_columns(names)
    return dict(run.data_collator([some[number] for number in numbers]))


def _shape(run: "SeededTrainer", rows: "Dataset") -> list[int]:
    """Return rows, positions and width of what the encoder answers; empty where that is no one number."""
    if not run.problem.encoder_reads:
        return []
    given = _inputs(run, rows, [0]).keys() - {*run.problem.carried}
    if given != {run.model.main_input_name}:
        return []
    return [len(rows), *_answers(run, rows, [0]).shape[1:]]


def _answers(run: "SeededTrainer", rows: "Dataset", numbers: Sequence[int]) -> Tensor:
    """Return what the encoder answers to some rows, as it would in a step."""
    read = _inputs(run, rows, numbers)[run.model.main_input_name].to(run.model.device)
    encoder = run.model.get_encoder()
    with torch.no_grad(), run.accelerator.autocast():
        found: Tensor = encoder(read).last_hidden_state
    return found


def _key(run: "SeededTrainer", data: "Mapping[str, Dataset]") -> str:
    """Return what decides the bits: the encoder, the rows, how it is computed, our code and all pins."""
    encoder = run.model.get_encoder()
    weights = hashlib.sha256()
    for name, weight in encoder.state_dict().items():
        weights.update(f"{name} {tuple(weight.shape)}".encode())
        weights.update(weight.detach().cpu().contiguous().numpy().tobytes())
    decides = {
        "encoder": weights.hexdigest(),
        "config": json.loads(encoder.config.to_json_string()),
        "attention": _attention(encoder),
        "tf32": run.args.tf32,
        "rows": {
            split: [sha256(Path(file["filename"])) for file in its.cache_files] for split, its in data.items()
        },
        "precision": "bf16" if run.args.bf16 else "fp16" if run.args.fp16 else "fp32",
        "device": devices.describe(),
    }
    return fingerprint(type(run.problem).__module__.split(".")[2], decides)


def _attention(encoder: nn.Module) -> list[str]:
    """Return what computes the attention of an encoder and its parts, which no config says when written."""
    configs = [getattr(module, "config", None) for module in encoder.modules()]
    return sorted({str(getattr(config, "_attn_implementation", None)) for config in configs})


def _drop_others(folder: Path) -> None:
    """Delete what other trainings have kept; one that has mapped it still sees it."""
    for other in sorted(folder.parent.iterdir()):
        if other.is_dir() and other != folder:
            lock = other.with_name(f"{other.name}.lock")
            with alone_if_free(lock) as is_old:
                if is_old:
                    shutil.rmtree(other)
                    forget(lock)


def _mapped(folder: Path, run: "SeededTrainer", rows: "Dataset", shape: list[int]) -> Tensor:
    """Return what the encoder answers to rows, (rows, positions, width); made unless it is there."""
    file = folder / OUTPUTS
    if not _is_whole(folder):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        _compute(file, run, rows, shape)
        write_json(folder / COMPLETE, {"sha256": sha256(file)})
    kind = _answers(run, rows, [0]).dtype
    return torch.from_file(str(file), shared=False, size=math.prod(shape), dtype=kind).view(shape)


def _is_whole(folder: Path) -> bool:
    try:
        return bool(read_json(folder / COMPLETE)["sha256"] == sha256(folder / OUTPUTS))
    except (OSError, ValueError, LookupError, TypeError):
        return False


def _compute(file: Path, run: "SeededTrainer", rows: "Dataset", shape: list[int]) -> None:
    bytes_, free = math.prod(shape) * size.FLOAT, shutil.disk_usage(file.parent).free
    if bytes_ > free:
        sizes = f"what the frozen encoder answers takes {bytes_ / size.MB:,.0f} MB in {ENCODED}"
        left = f"{free / size.MB:,.0f} MB of the disk are free"
        raise InputError(f"train.freeze: {sizes}, and {left}; free some, or set train.encoder_cache off")
    progress = Progress("encode", len(rows), unit="row")
    with file.open("wb") as out:
        for start in range(0, len(rows), AT_ONCE):
            numbers = range(start, min(start + AT_ONCE, len(rows)))
            found = _answers(run, rows, numbers).cpu().contiguous()
            out.write(found.view(torch.uint8).numpy().tobytes())
            progress.update(numbers.stop)
    progress.close()
