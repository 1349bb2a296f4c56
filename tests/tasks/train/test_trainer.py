"""The Trainer's additions: gradients clipped in passing."""

from functools import partial
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    DefaultDataCollator,
    PrinterCallback,
    Trainer,
    TrainingArguments,
)

from tasks.train.epochs import EpochSampler
from tasks.train.sharded_trainer import ShardedTrainer
from tasks.train.trainer import SeededTrainer
from tests.support.tiny import NO_DROPOUT, SIZES
from tests.support.way import PROBLEM


@pytest.mark.parametrize("optim", ["adamw_torch_fused", "adamw_torch"])
@pytest.mark.parametrize(
    "max_grad_norm", [0.01, *(pytest.param(most, marks=pytest.mark.slow) for most in (1000.0, 0.0))]
)
def test_gradients_are_clipped_as_the_trainer_clips_them(
    tmp_path: Path, optim: str, max_grad_norm: float
) -> None:
    config = BertConfig(**SIZES, **NO_DROPOUT)
    rows = [{"input_ids": [1 + row, 2, 3], "labels": row % 2} for row in range(12)]
    order = EpochSampler([3] * 12, 2, "random", 0)
    names = {"optim": optim, "max_grad_norm": max_grad_norm, "learning_rate": 0.01, "weight_decay": 0.1}
    arguments = TrainingArguments(
        output_dir=str(tmp_path),
        **names,
        per_device_train_batch_size=2,
        num_train_epochs=1,
        logging_steps=1,
        use_cpu=True,
        report_to="none",
        disable_tqdm=True,
        save_strategy="no",
    )

    class Plain(Trainer):  # type: ignore[misc]
        def _get_train_sampler(self, train_dataset: Any = None) -> EpochSampler:
            return order

    none: dict[str, Any] = {"problem": PROBLEM, "targets": {}, "rows": pl.DataFrame()}
    found = []
    for make in (Plain, partial(SeededTrainer, sampler=order, curves=tmp_path, **none)):
        torch.manual_seed(0)
        model = BertForSequenceClassification(config)
        run = make(model=model, args=arguments, train_dataset=rows, data_collator=DefaultDataCollator())
        run.remove_callback(PrinterCallback)
        run.train()
        norms = [entry["grad_norm"] for entry in run.state.log_history if "grad_norm" in entry]
        found.append((model.state_dict(), norms))
    torch.testing.assert_close(*found)


def test_all_that_is_otherwise_with_shards_is_something_that_the_installed_trainer_does() -> None:
    own = {name for name, what in vars(ShardedTrainer).items() if callable(what)}
    assert "save_model" in own
    assert [name for name in sorted(own) if not hasattr(Trainer, name)] == []
