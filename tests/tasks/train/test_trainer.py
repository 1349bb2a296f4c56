"""The Trainer's additions: an order of rows that survives a resume, gradients clipped in passing, and the learning curves."""

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
    TrainerControl,
    TrainerState,
    TrainingArguments,
)

from tasks.shared.choices import Sampling
from tasks.shared.errors import InputError
from tasks.shared.files import digests
from tasks.train.checkpoints import last_whole
from tasks.train.trainer import (
    End,
    EpochSampler,
    Follow,
    SeededTrainer,
    evaluations,
    seconds_between_checkpoints,
    validation_names,
    write_curves,
)
from tests.support.checkpoints import saved
from tests.support.tiny import NO_DROPOUT, SIZES
from tests.support.way import PROBLEM

LENGTHS = [3 + (7 * i) % 50 for i in range(1003)]
STRATEGIES = list(Sampling)


def sampler(strategy: str = "group_by_length", seed: int = 0, epoch: int = 0) -> EpochSampler:
    made = EpochSampler(LENGTHS, 8, strategy, seed)
    made.epoch = epoch
    return made


# the order of rows


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_an_epoch_holds_every_row_once(strategy: Sampling) -> None:
    made = sampler(strategy)
    assert sorted(made) == list(range(1003))
    assert len(made) == 1003


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_the_order_depends_on_seed_and_epoch_and_on_nothing_else(strategy: Sampling) -> None:
    first = list(sampler(strategy, seed=3, epoch=2))
    torch.manual_seed(99)
    torch.rand(10)
    state = torch.get_rng_state()
    again = sampler(strategy, seed=3)
    for again.epoch in (0, 1, 2):
        order = list(again)
    assert order == first == list(again)
    assert torch.equal(torch.get_rng_state(), state), "the global generator was drawn from"


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_every_epoch_and_every_seed_has_an_order_of_its_own(strategy: Sampling) -> None:
    orders = {tuple(sampler(strategy, seed, epoch)) for seed in range(4) for epoch in range(4)}
    assert len(orders) == 16


def test_the_largest_seed_works() -> None:
    assert sorted(sampler(seed=2**32 - 1, epoch=1000)) == list(range(1003))


def test_rows_of_like_length_share_a_batch() -> None:
    def padded(order: list[int]) -> int:
        return sum(
            max(LENGTHS[row] for row in order[start : start + 8]) * len(order[start : start + 8])
            for start in range(0, 1003, 8)
        )

    grouped, random = (padded(list(sampler(strategy))) for strategy in ("group_by_length", "random"))
    assert grouped < 1.05 * sum(LENGTHS)
    assert random > 1.3 * sum(LENGTHS)


def test_batches_of_all_lengths_follow_each_other_and_the_incomplete_one_is_last() -> None:
    order = list(sampler())
    longest = [max(LENGTHS[row] for row in order[start : start + 8]) for start in range(0, 1003, 8)]
    assert longest[-1] == min(longest), (
        "the three rows that are left over are the shortest, so no other batch is torn"
    )
    thirds = [longest[1:42], longest[42:83], longest[83:125]]
    assert all(max(third) > 45 and min(third) < 10 for third in thirds)


def test_fewer_rows_than_a_batch_are_one_batch() -> None:
    few = EpochSampler([3, 9, 4], 8, "group_by_length", 0)
    assert sorted(few) == [0, 1, 2]


def test_the_longest_row_comes_first_so_that_full_memory_shows_at_once() -> None:
    assert LENGTHS[next(iter(sampler()))] == max(LENGTHS)


# gradients


@pytest.mark.parametrize("optim", ["adamw_torch_fused", "adamw_torch"])
@pytest.mark.parametrize("max_grad_norm", [0.01, 1000.0, 0.0])
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


# what follows a training


def test_a_checkpoint_is_marked_when_it_is_saved_and_logged_when_it_is_due(tmp_path: Path) -> None:
    follow = Follow(sampler(), tmp_path / "curves")
    arguments = TrainingArguments(output_dir=str(tmp_path), use_cpu=True, report_to="none")
    state, control = TrainerState(global_step=10, epoch=1.0), TrainerControl(should_save=True)
    torn = saved(tmp_path, 10, is_whole=False)
    follow.on_step_end(arguments, state, control)
    assert control.should_log
    follow.on_save(arguments, state, control)
    assert last_whole(tmp_path) == torn


class AskedMeanwhile:
    """Processes that agree on nothing to do while this one is asked to end; later they all have been asked."""

    is_first = True

    def __init__(self, follow: Follow) -> None:
        self.follow, self.given = follow, list[bool]()

    def any(self, *flags: bool) -> list[bool]:
        self.given.append(flags[0])
        self.follow.ask_to_end()
        return [self.given.count(True) > 0, *(False for _ in flags[1:])]


def test_a_process_that_is_asked_to_end_while_all_agree_does_so_with_the_others(tmp_path: Path) -> None:
    follow = Follow(sampler(), tmp_path)
    together: Any = AskedMeanwhile(follow)
    follow.together = together
    arguments = TrainingArguments(output_dir=str(tmp_path), use_cpu=True)
    state = TrainerState(global_step=3, max_steps=9, epoch=0.3)
    for saves in (False, True):
        control = TrainerControl()
        follow.on_step_end(arguments, state, control)
        assert control.should_save is saves
    assert together.given == [False, True]


def test_a_process_that_is_asked_to_end_while_all_save_goes_on_as_the_others_do(tmp_path: Path) -> None:
    follow = Follow(sampler(), tmp_path)
    together: Any = AskedMeanwhile(follow)
    follow.together = together
    arguments = TrainingArguments(output_dir=str(tmp_path), use_cpu=True)
    state = TrainerState(global_step=3, max_steps=9, epoch=1.0)
    end = End(follow)
    end.on_save(arguments, state, TrainerControl())
    with pytest.raises(SystemExit):
        end.on_save(arguments, state, TrainerControl())


def test_the_sampler_follows_the_epoch_also_in_the_middle_of_one(tmp_path: Path) -> None:
    order = sampler()
    follow = Follow(order, tmp_path)
    for epoch in (0, 1.0, 2.5):
        follow.on_epoch_begin(
            TrainingArguments(output_dir=str(tmp_path), use_cpu=True),
            TrainerState(epoch=epoch),
            TrainerControl(),
        )
        assert order.epoch == int(epoch)


# curves

HISTORY = [
    {"step": 10, "epoch": 0.5, "loss": 2.123456789012, "learning_rate": 2e-5, "grad_norm": 1.0},
    {"step": 20, "epoch": 1.0, "loss": 1.5, "learning_rate": 1e-5},
    {
        "step": 20,
        "epoch": 1.0,
        "eval_loss": 1.25,
        "eval_accuracy": 0.5,
        "eval_macro_f1": 1 / 3,
        "eval_runtime": 3.21,
        "eval_samples_per_second": 9.9,
    },
    {"step": 20, "epoch": 1.0, "train_loss": 1.8, "train_runtime": 12.3, "total_flos": 1e9},
]


def test_the_curves_have_a_row_per_log_and_per_evaluation(tmp_path: Path) -> None:
    write_curves(HISTORY, tmp_path / "plots")
    found = {file.stem: pl.read_csv(file) for file in (tmp_path / "plots").iterdir()}
    assert found.pop("train_loss").rows(named=True) == [
        {"step": 10, "epoch": 0.5, "learning_rate": 2e-5, "loss": 2.123456789},
        {"step": 20, "epoch": 1.0, "learning_rate": 1e-5, "loss": 1.5},
    ]
    expected = {"loss": 1.25, "accuracy": 0.5, "macro_f1": pytest.approx(1 / 3)}
    for name, value in expected.items():
        curve = found.pop(f"validation_{name}")
        assert curve.rows(named=True) == [{"step": 20, "epoch": 1.0, name: value}]
        assert curve.columns[-1] == name, "where DVC looks for what to draw"
    assert found == {}


def test_evaluations_are_told_as_they_are_kept() -> None:
    assert evaluations(HISTORY) == [{"step": 20, "loss": 1.25, "accuracy": 0.5, "macro_f1": 0.333333}]


def test_no_wall_clock_figure_is_in_the_curves(tmp_path: Path) -> None:
    write_curves(HISTORY, tmp_path / "one")
    faster = [
        {name: 0.1 if "runtime" in name or "per_second" in name else value for name, value in entry.items()}
        for entry in HISTORY
    ]
    write_curves(faster, tmp_path / "two")
    assert digests(tmp_path / "one") == digests(tmp_path / "two")
    assert validation_names(HISTORY[2]) == ["accuracy", "loss", "macro_f1"]


def test_the_columns_of_the_curves_are_the_same_when_a_resumed_log_has_another_order(tmp_path: Path) -> None:
    write_curves(HISTORY, tmp_path / "one")
    write_curves([dict(sorted(entry.items())) for entry in HISTORY], tmp_path / "resumed")
    assert digests(tmp_path / "one") == digests(tmp_path / "resumed")


def test_curves_before_the_first_evaluation_have_their_headers(tmp_path: Path) -> None:
    write_curves([], tmp_path)
    assert (tmp_path / "train_loss.csv").read_text() == "step,epoch,learning_rate,loss\n"
    assert (tmp_path / "validation_loss.csv").read_text() == "step,epoch,loss\n"
    assert sorted(file.name for file in tmp_path.iterdir()) == ["train_loss.csv", "validation_loss.csv"]


def test_a_longer_history_takes_the_place_of_a_shorter(tmp_path: Path) -> None:
    write_curves(HISTORY[:1], tmp_path)
    write_curves(HISTORY, tmp_path)
    assert pl.read_csv(tmp_path / "train_loss.csv").height == 2


@pytest.mark.parametrize("wrong", ["often", "-1", "nan", "inf", ""])
def test_a_time_between_checkpoints_that_is_none_is_refused(
    wrong: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RETRAIN_CHECKPOINT_SECONDS", wrong)
    with pytest.raises(InputError, match="RETRAIN_CHECKPOINT_SECONDS"):
        seconds_between_checkpoints()
