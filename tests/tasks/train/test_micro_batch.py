"""Micro-batches: each row counts for as much as any other, and where memory is full they become smaller."""

import gc
import itertools
import weakref
from functools import wraps
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    BertForTokenClassification,
    LlamaConfig,
    LlamaForCausalLM,
)

from tasks.shared.errors import InputError, MemoryFullError
from tasks.shared.params import Train
from tasks.train import micro_batch
from tests.support.tiny import SIZES
from tests.support.way import Way, way

OF_ONE = {
    "num_train_epochs": 2.0,
    "logging_steps": 1,
    "per_device_train_batch_size": 8,
    "cpu_shortcuts": "off",
    "precision": "fp32",
}


@pytest.mark.parametrize(
    ("model", "labels", "items"),
    [
        (BertForSequenceClassification(BertConfig(**SIZES)), torch.tensor([0, 1, 1]), 3),
        (BertForTokenClassification(BertConfig(**SIZES)), torch.tensor([[-100, 1, 0], [-100, 1, -100]]), 3),
        # of several labels each, and of a number that is no mark for nothing
        (BertForSequenceClassification(BertConfig(**SIZES)), torch.tensor([[0.0, 1.0], [1.0, 1.0]]), 4),
        (BertForSequenceClassification(BertConfig(**SIZES)), torch.tensor([-100.0, 2.0]), 2),
    ],
)
def test_items_are_what_the_mean_is_of(model: Any, labels: torch.Tensor, items: int) -> None:
    assert micro_batch.num_items(model, {"labels": labels}) == items


def test_without_labels_rows_are_counted() -> None:
    model = LlamaForCausalLM(LlamaConfig(**SIZES))
    assert micro_batch.num_items(model, {"input_ids": torch.zeros(5, 7)}) == 5


# where memory is full


def test_a_smaller_micro_batch_has_as_many_rows_in_a_step(tmp_path: Path) -> None:
    params = Train(per_device_train_batch_size=12, gradient_accumulation_steps=3)
    sizes = []
    for _ in range(3):
        params = micro_batch.smaller(params, tmp_path)
        sizes.append((params.per_device_train_batch_size, params.gradient_accumulation_steps))
        assert micro_batch.known(Train(), tmp_path).per_device_train_batch_size == sizes[-1][0]
    assert sizes == [(6, 6), (3, 12), (1, 36)]
    assert [found["per_device_train_batch_size"] for found in micro_batch.history(tmp_path)] == [6, 3, 1]
    with pytest.raises(InputError, match="memory does not hold a step of one row; take a lower"):
        micro_batch.smaller(params, tmp_path)


def test_two_processes_that_say_the_same_say_it_once(tmp_path: Path) -> None:
    params = Train(per_device_train_batch_size=4)
    assert micro_batch.smaller(params, tmp_path) == micro_batch.smaller(params, tmp_path)
    assert len(micro_batch.history(tmp_path)) == 1


def full_above(rows: int, after: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the model's own forward find memory full in training, from a call on, with more rows than these."""
    forward, calls = BertForSequenceClassification.forward, itertools.count()

    @wraps(forward)
    def limited(self: Any, *given: Any, **named: Any) -> Any:
        if self.training and next(calls) >= after and named["input_ids"].shape[0] > rows:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return forward(self, *given, **named)

    monkeypatch.setattr(BertForSequenceClassification, "forward", limited)


@pytest.mark.slow
def test_memory_that_is_full_in_validation_or_evaluate_is_a_sentence_that_names_the_batch(
    tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forward = BertForSequenceClassification.forward

    @wraps(forward)
    def limited(self: Any, *given: Any, **named: Any) -> Any:
        # two rows try out whether padding changes an answer
        if not self.training and named["input_ids"].shape[0] > 2:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return forward(self, *given, **named)

    made = way(tmp_path, tiny_model, train=OF_ONE)
    made.tokenize()
    with monkeypatch.context() as within:
        within.setattr(BertForSequenceClassification, "forward", limited)
        with pytest.raises(
            InputError, match=r"does not hold \d+ validation rows at once; lower train.per_dev"
        ):
            made.train()
    made.train()
    monkeypatch.setattr(BertForSequenceClassification, "forward", limited)
    with pytest.raises(InputError, match=r"does not hold 64 rows at once; lower evaluate.batch_size"):
        made.evaluate()


def test_memory_that_does_not_hold_the_optimizers_state_is_a_sentence_and_no_smaller_micro_batch(
    tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(torch.optim.AdamW, "step", full)
    with pytest.raises(InputError, match="does not hold the model with its gradients and the optimizer's st"):
        trained(tmp_path, tiny_model)
    assert micro_batch.history(tmp_path / "resume") == []


def trained(folder: Path, base: Path) -> tuple[Way, Any]:
    made = way(folder, base, train=OF_ONE)
    made.tokenize()
    return made, made.train()


@pytest.mark.slow
def test_a_training_whose_memory_is_full_ends_with_smaller_micro_batches_and_says_so(
    tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    full_above(2, after=0, monkeypatch=monkeypatch)
    _, said = trained(tmp_path, tiny_model)
    assert said["micro_batches"] == [
        {"from_step": 0, "per_device_train_batch_size": 4, "gradient_accumulation_steps": 2},
        {"from_step": 0, "per_device_train_batch_size": 2, "gradient_accumulation_steps": 4},
    ]
    assert "micro-batches are 2 rows, 4 times a step instead of 4, from step 0 on" in capsys.readouterr().out


@pytest.mark.slow
def test_the_model_that_was_too_much_is_gone_before_there_is_another(
    tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    full_above(2, after=0, monkeypatch=monkeypatch)
    init, models, alive = BertForSequenceClassification.__init__, list[Any](), list[int]()

    def watched(self: Any, *given: Any, **named: Any) -> None:
        alive.append(sum(model() is not None for model in models))
        init(self, *given, **named)
        models.append(weakref.ref(self))

    monkeypatch.setattr(BertForSequenceClassification, "__init__", watched)
    # which may happen to look in time, or not
    gc.disable()
    try:
        trained(tmp_path, tiny_model)
    finally:
        gc.enable()
    assert alive[:3] == [0, 0, 0]


def test_who_asked_for_no_retries_is_told_at_once_and_then_goes_on_with_what_was_written_down(
    tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    full_above(4, after=0, monkeypatch=monkeypatch)
    made = way(tmp_path, tiny_model, train=OF_ONE)
    made.tokenize()
    with pytest.raises(MemoryFullError, match="memory does not hold 8 train rows at once"):
        made.train(retries=False)
    assert len(micro_batch.history(made.folder / "resume")) == 1
    said = made.train(retries=False)
    assert [found["per_device_train_batch_size"] for found in said["micro_batches"]] == [4]


@pytest.mark.slow
def test_it_goes_on_from_the_last_evaluation_whatever_the_clock_has_kept(
    tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digests = []
    for seconds in ("0", "3600"):
        monkeypatch.setenv("RETRAIN_CHECKPOINT_SECONDS", seconds)
        with monkeypatch.context() as within:
            # in the second epoch, which begins behind step 4
            full_above(4, after=6, monkeypatch=within)
            made, said = trained(tmp_path / seconds, tiny_model)
        assert [found["from_step"] for found in said["micro_batches"]] == [4]
        digests.append((made.paths.checkpoint / "model.safetensors").read_bytes())
    assert digests[0] == digests[1]
