"""What follows a training: checkpoints that are marked, logged and asked for, and who asks for the end."""

import json
import sys
import threading
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from transformers import TrainerControl, TrainerState, TrainingArguments

from tasks.shared.errors import InputError
from tasks.shared.role import Role
from tasks.train.checkpoints import last_whole
from tasks.train.epochs import EpochSampler
from tasks.train.follow import End, Follow, seconds_between_checkpoints
from tasks.train.together import Together
from tests.support.checkpoints import saved
from tests.support.children import child
from tests.support.wait import until


def sampler() -> EpochSampler:
    return EpochSampler([3, 9, 4], 8, "group_by_length", 0)


def test_a_checkpoint_is_marked_when_it_is_saved_and_logged_when_it_is_due(tmp_path: Path) -> None:
    follow = Follow(sampler(), tmp_path / "curves")
    arguments = TrainingArguments(output_dir=str(tmp_path), use_cpu=True, report_to="none")
    state, control = TrainerState(global_step=10, epoch=1.0), TrainerControl(should_save=True)
    torn = saved(tmp_path, 10, is_whole=False)
    follow.on_step_end(arguments, state, control)
    assert control.should_log
    follow.on_save(arguments, state, control)
    assert last_whole(tmp_path) == torn


def saves_at_a_step(follow: Follow, arguments: TrainingArguments) -> bool:
    control, state = TrainerControl(), TrainerState(global_step=3, max_steps=9, epoch=0.3)
    follow.on_step_end(arguments, state, control)
    return bool(control.should_save)


def ends_at_a_checkpoint(follow: Follow, arguments: TrainingArguments) -> bool:
    state = TrainerState(global_step=3, max_steps=9, epoch=1.0)
    try:
        End(follow).on_save(arguments, state, TrainerControl())
    except SystemExit:
        return True
    return False


def ask_meanwhile(follow: Follow, thread: int, folder: Path) -> None:
    """Ask for the end while a thread waits for the other process to agree."""

    def is_agreeing() -> bool:
        stack = traceback.walk_stack(sys._current_frames()[thread])
        return Together.any.__code__ in {frame.f_code for frame, _ in stack}

    until(is_agreeing, every=0.01)
    follow.ask_to_end()
    (folder / "asked").touch()


def twice(
    rank: int,
    act: Callable[[Follow, TrainingArguments], bool],
    arguments: TrainingArguments,
    folder: Path,
) -> None:
    """Write down what one of two processes does twice; the first is asked to end the first time."""
    store = f"file://{folder}/store"
    torch.distributed.init_process_group("gloo", init_method=store, rank=rank, world_size=2)
    follow = Follow(sampler(), folder, Together(folder, Role(rank, 2)))
    if rank == 0:
        asks = (follow, threading.get_ident(), folder)
        threading.Thread(target=ask_meanwhile, args=asks, daemon=True).start()
    else:
        until((folder / "asked").exists, every=0.01)
    done = [act(follow, arguments) for _ in range(2)]
    (folder / f"done-{rank}").write_text(json.dumps(done))


@pytest.mark.parametrize("act", [saves_at_a_step, ends_at_a_checkpoint])
def test_a_process_that_is_asked_to_end_while_all_agree_does_so_with_the_others(
    act: Callable[..., bool], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # no other network is needed
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "lo")
    arguments = TrainingArguments(output_dir=str(tmp_path), use_cpu=True)
    both = [child(twice, rank, act, arguments, tmp_path) for rank in range(2)]
    for one in both:
        one.start()
    for one in both:
        one.join()
        assert one.exitcode == 0
    assert [json.loads((tmp_path / f"done-{rank}").read_text()) for rank in range(2)] == [[False, True]] * 2


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


@pytest.mark.parametrize("wrong", ["often", "-1", "nan", "inf", ""])
def test_a_time_between_checkpoints_that_is_none_is_refused(
    wrong: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RETRAIN_CHECKPOINT_SECONDS", wrong)
    with pytest.raises(InputError, match="RETRAIN_CHECKPOINT_SECONDS"):
        seconds_between_checkpoints()
