"""What follows a training: checkpoints that are marked, logged and asked for, and who asks for the end."""

from pathlib import Path
from typing import Any

import pytest
from transformers import TrainerControl, TrainerState, TrainingArguments

from tasks.shared.errors import InputError
from tasks.train.checkpoints import last_whole
from tasks.train.epochs import EpochSampler
from tasks.train.follow import End, Follow, seconds_between_checkpoints
from tests.support.checkpoints import saved


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


@pytest.mark.parametrize("wrong", ["often", "-1", "nan", "inf", ""])
def test_a_time_between_checkpoints_that_is_none_is_refused(
    wrong: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RETRAIN_CHECKPOINT_SECONDS", wrong)
    with pytest.raises(InputError, match="RETRAIN_CHECKPOINT_SECONDS"):
        seconds_between_checkpoints()
