"""What only a GPU can show; skipped, with the reason shown, where there is none."""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import BertForSequenceClassification, LlamaConfig, LlamaForCausalLM

from tasks.problems.text_generation.batches import collated, flat
from tasks.shared.files import digests
from tasks.train import attention
from tests.support.tiny import SIZES
from tests.support.way import Way, way

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device"),
]
FLASH = pytest.mark.skipif(find_spec("flash_attn") is None, reason="flash-attn is not installed")


def trained(folder: Path, base: Path, **train: Any) -> tuple[Way, Any]:
    made = way(folder, base, train={"num_train_epochs": 2.0, "precision": "bf16", **train})
    made.tokenize()
    return made, made.train()


@pytest.mark.parametrize(
    "train",
    [
        {},
        {"torch_compile": True},
        {"activation_checkpointing": True},
        {"attn_implementation": "eager"},
        pytest.param({"attn_implementation": "flash_attention_2"}, marks=FLASH),
    ],
)
def test_the_same_bytes_twice(tmp_path: Path, tiny_model: Path, train: dict[str, Any]) -> None:
    found = []
    for name in ("one", "other"):
        made, said = trained(tmp_path / name, tiny_model, **train)
        assert said["precision"] == "bf16"
        assert torch.are_deterministic_algorithms_enabled()
        assert not torch.is_deterministic_algorithms_warn_only_enabled()
        found.append(digests(made.paths.checkpoint))
    assert found[0] == found[1]


def allocated_before_each_model(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return a list that comes to hold the bytes in use on the device when each model is made."""
    init, found = BertForSequenceClassification.__init__, list[int]()

    def watched(self: Any, *given: Any, **named: Any) -> None:
        found.append(torch.cuda.memory_allocated())
        init(self, *given, **named)

    monkeypatch.setattr(BertForSequenceClassification, "__init__", watched)
    return found


def test_memory_that_is_full_is_answered_by_smaller_micro_batches(
    tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = way(tmp_path, tiny_model, train={"per_device_train_batch_size": 4096, "num_train_epochs": 1.0})
    made.write_splits(["where is my order and " * 30] * 4096, ["order_status", "feedback"] * 2048)
    made.tokenize()
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction(2**30 / total)
    before = allocated_before_each_model(monkeypatch)
    try:
        said = made.train()
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert len(before) > 1
    # but for cuBLAS' workspaces, nothing of a training that was too much is left: it had filled a GiB
    assert max(before) < 2**27
    last = said["micro_batches"][-1]
    assert last["per_device_train_batch_size"] * last["gradient_accumulation_steps"] == 4096


@FLASH
def test_flash_attention_keeps_rows_apart_that_lie_one_behind_the_other() -> None:
    rows = [{"input_ids": list(range(3, 3 + size)), "labels": list(range(3, 3 + size))} for size in (9, 4, 6)]
    torch.manual_seed(0)
    model = LlamaForCausalLM(LlamaConfig(**SIZES, use_cache=False)).cuda()
    losses = []
    for kind, batch in (("sdpa", collated(rows, 0)), (attention.FLASH, flat(rows))):
        attention.use(model, kind)
        given = {name: values.cuda() for name, values in batch.items()}
        items = given["labels"][:, 1:].ne(-100).sum()
        with torch.autocast("cuda", torch.bfloat16):
            losses.append(model(**given, num_items_in_batch=items).loss.item())
    # bf16 keeps eight bits
    assert losses[0] == pytest.approx(losses[1], rel=2**-7)
