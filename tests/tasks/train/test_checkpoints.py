"""Checkpoints: whole by their checksums, last by their step, deleted only when the next one is whole."""

import json
import os
import pickle
import shutil
from pathlib import Path
from random import Random
from typing import Any

import polars as pl
import pytest
import torch

from tasks.shared.errors import InputError
from tasks.shared.files import folder_digest
from tasks.shared.params import Params
from tasks.shared.paths import Paths
from tasks.shared.statistics import Statistic, Statistics
from tasks.train import outputs
from tasks.train.checkpoints import COMPLETE, is_finished, last_whole, mark, rotate, settle
from tasks.train.resume import INTERRUPTED, PROCESSES, resume_folder
from tests.attacks import checkpoints as attack
from tests.attacks.checkpoints import STRAYS, Training, Watched
from tests.support.checkpoints import saved

EMPTY = "is empty, as earlier versions left it"


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


# which one is gone on from


def test_a_folder_that_is_not_there_or_empty_has_no_checkpoint(tmp_path: Path) -> None:
    assert last_whole(tmp_path / "nowhere") is None
    assert last_whole(tmp_path) is None


def test_the_last_checkpoint_is_chosen_by_its_step_number(tmp_path: Path) -> None:
    newest = saved(tmp_path, 1000)
    saved(tmp_path, 999)
    # written last, and last by spelling too
    saved(tmp_path, 20)
    assert last_whole(tmp_path) == newest


def test_a_checkpoint_without_checksums_is_passed_over_and_deleted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = saved(tmp_path, 20)
    saved(tmp_path, 30, is_whole=False)
    (tmp_path / "checkpoint-40").mkdir()
    assert last_whole(tmp_path) == whole
    assert names(tmp_path) == ["checkpoint-20"]
    assert capsys.readouterr().out.splitlines() == [
        "checkpoint-40 is passed over: it was not saved to its end",
        "checkpoint-30 is passed over: it was not saved to its end",
    ]


def test_without_a_whole_checkpoint_training_starts_anew_and_says_so(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    saved(tmp_path, 10, is_whole=False)
    assert last_whole(tmp_path) is None
    assert names(tmp_path) == []
    assert capsys.readouterr().out.endswith("no checkpoint is whole, so training starts anew\n")


def test_a_checkpoint_of_an_earlier_version_proves_nothing_and_is_passed_over(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (saved(tmp_path, 10, is_whole=False) / COMPLETE).touch()
    assert last_whole(tmp_path) is None
    assert f"checkpoint-10 is passed over: complete {EMPTY}" in capsys.readouterr().out


def broken_manifest(path: Path) -> None:
    (path / COMPLETE).write_bytes(b"\xff\xfe")


def shortened_manifest(path: Path) -> None:
    lines = (path / COMPLETE).read_text("utf-8").splitlines(keepends=True)
    (path / COMPLETE).write_text("".join(lines[:-1]), encoding="utf-8")


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (lambda path: os.truncate(path / "optimizer.pt", 5), "optimizer.pt is not what was saved"),
        (
            lambda path: (path / "optimizer.pt").write_bytes(b"moment5" * 100),
            "optimizer.pt is not what was saved",
        ),
        (lambda path: (path / "optimizer.pt").unlink(), "optimizer.pt is missing"),
        (
            lambda path: (path / "pytorch_model.bin").touch(),
            "pytorch_model.bin is not in complete, its list of",
        ),
        (shortened_manifest, "trainer_state.json is not in complete, its list of checksums"),
        (
            lambda path: (path / COMPLETE).write_text("so it is\n"),
            "optimizer.pt is not in complete, its list of",
        ),
        (
            lambda path: os.truncate(path / COMPLETE, (path / COMPLETE).stat().st_size - 1),
            "complete, its list of",
        ),
        (broken_manifest, "complete, its list of checksums, is damaged"),
        (lambda path: (path / COMPLETE).write_bytes(b""), f"complete {EMPTY}"),
        (lambda path: (path / COMPLETE).unlink(), "it was not saved to its end"),
    ],
)
def test_a_damaged_checkpoint_is_passed_over_for_the_one_before_and_it_is_said_why(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], harm: Any, said: str
) -> None:
    whole, damaged = saved(tmp_path, 10), saved(tmp_path, 20)
    harm(damaged)
    assert last_whole(tmp_path) == whole
    assert f"checkpoint-20 is passed over: {said}" in capsys.readouterr().out
    assert names(tmp_path) == ["checkpoint-10"]


def test_a_checkpoint_whose_best_one_is_damaged_is_none_to_go_on_from(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = saved(tmp_path, 10, best_global_step=10)
    best, _ = saved(tmp_path, 20, best_global_step=20), saved(tmp_path, 30, best_global_step=20)
    os.truncate(best / "optimizer.pt", 5)
    assert last_whole(tmp_path) == before
    assert (
        "checkpoint-30 is passed over: of the best one so far, checkpoint-20, optimizer.pt"
        in capsys.readouterr().out
    )


def test_what_is_no_checkpoint_is_not_looked_at_and_a_link_is_not_followed(tmp_path: Path) -> None:
    resume = tmp_path / "resume"
    whole = saved(resume, 7)
    for what in STRAYS:
        attack.stray(resume, what)
    assert last_whole(resume) == whole
    assert {*STRAYS[:3]} <= {*names(resume)}
    assert not {"checkpoint-10", "checkpoint-500"} & {*names(resume)}, "they stood where a checkpoint belongs"
    assert (tmp_path / "resume-elsewhere/precious.txt").exists()


# which are kept


@pytest.mark.parametrize(
    ("stands", "last", "fallback", "kept"),
    [
        ((10, 20, 30), 30, 10, {10, 30}),
        ((10, 20, 30), 30, None, {20, 30}),
        ((10, 20, 30), 30, 5, {20, 30}),
        ((10, 20), 20, 20, {20}),
        ((10,), 10, None, {10}),
    ],
)
@pytest.mark.parametrize("clock", attack.CLOCKS)
def test_rotation_goes_by_step_whatever_the_clock_says(
    tmp_path: Path, stands: tuple[int, ...], last: int, fallback: int | None, kept: set[int], clock: str
) -> None:
    for step in stands:
        saved(tmp_path, step)
    (tmp_path / "checkpoint-abc").mkdir()
    attack.turn_clock(tmp_path, clock)
    rotate(tmp_path, last, fallback)
    assert names(tmp_path) == sorted([*(f"checkpoint-{step}" for step in kept), "checkpoint-abc"])


def test_a_torn_checkpoint_is_nothing_to_fall_back_on(tmp_path: Path) -> None:
    saved(tmp_path, 10)
    saved(tmp_path, 20, is_whole=False)
    saved(tmp_path, 30)
    rotate(tmp_path, 30, None)
    assert names(tmp_path) == ["checkpoint-10", "checkpoint-30"]


def test_one_that_is_the_best_leaves_the_best_before_it_to_fall_back_on(tmp_path: Path) -> None:
    best = None
    for step, is_best in ((10, True), (20, False), (30, True)):
        reached = step if is_best else best
        best = settle(saved(tmp_path, step, is_whole=False, best_global_step=reached), best)
        assert best == reached
    assert {path.name for path in tmp_path.iterdir()} == {"checkpoint-10", "checkpoint-30"}
    (tmp_path / "checkpoint-30/optimizer.pt").write_bytes(b"")
    assert last_whole(tmp_path) == tmp_path / "checkpoint-10"


@pytest.mark.parametrize(
    ("state", "finished"),
    [
        ({}, False),
        ({"max_steps": 11}, False),
        ({"max_steps": 10}, True),
        ({"max_steps": 9}, True),
        ({"stop": True}, True),
    ],
)
def test_training_is_finished_when_all_steps_are_done_or_it_stopped_early(
    tmp_path: Path, state: dict[str, Any], *, finished: bool
) -> None:
    assert is_finished(saved(tmp_path, 10, **state)) is finished


def in_a_project(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Paths:
    """Be in a folder with as much as a training's key needs; return what is where there."""
    monkeypatch.chdir(folder)
    (folder / "pins.yaml").write_text("{}")
    paths = Paths(folder)
    paths.splits.mkdir(parents=True)
    paths.split("validation").touch()
    return paths


def test_checkpoints_of_other_trainings_go_by_their_turn_whatever_the_clock_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = in_a_project(tmp_path, monkeypatch)
    trainings = []
    stray = INTERRUPTED / "mine"
    stray.mkdir(parents=True)
    monkeypatch.setattr("tasks.train.resume.KEEP_INTERRUPTED", 3)
    for seed in range(5):
        params = Params.model_validate({"train": {"seed": seed}})
        with resume_folder(params, paths, 1) as folder:
            trainings.append(folder)
            if seed != 3:
                saved(folder, 10)
            os.utime(folder, (4e9 - 1e8 * seed, 4e9 - 1e8 * seed))
    left = [trainings.index(path) for path in INTERRUPTED.iterdir() if path in trainings]
    assert sorted(left) == [1, 2, 4], "the last three that kept anything"
    assert stray.exists()


@pytest.mark.parametrize("torn", [b"", b'{"but_for', b"[1]", b'{"but_for_processes": 1}', b"\xff"])
def test_what_another_training_has_written_down_in_part_stops_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], torn: bytes
) -> None:
    paths = in_a_project(tmp_path, monkeypatch)
    said = []
    for processes in (1, 2, 3):
        with resume_folder(Params(), paths, processes) as folder:
            saved(folder, 10)
        said.append(capsys.readouterr().out.count("is kept; this one by"))
        if processes == 2:
            (folder / PROCESSES).write_bytes(torn)
    assert said == [0, 1, 1], "what is whole is still said"


def test_the_first_of_five_killed_trainings_that_begins_again_leaves_the_others_theirs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = in_a_project(tmp_path, monkeypatch)
    told = tmp_path / "told"
    monkeypatch.setenv("RETRAIN_PROGRESS", str(told))
    for processes in (1, 2, 3, 4, 5, 1):
        with resume_folder(Params(), paths, processes) as folder:
            (folder / "checkpoint-10").mkdir(exist_ok=True)
    assert len([*INTERRUPTED.glob("*/checkpoint-10")]) == 5
    assert json.loads(told.read_text().splitlines()[-1]) == {"checkpoints": folder.as_posix()}


def test_what_becomes_the_model_is_weights_and_processor_and_nothing_to_go_on_from(tmp_path: Path) -> None:
    best = tmp_path / "best"
    best.mkdir()
    model = ["config.json", "model-00001-of-00002.safetensors", "model.safetensors.index.json", "vocab.txt"]
    shards = [f"shard-00000-of-00002.{kind}" for kind in ("json", "safetensors")]
    for name in (*model, *shards, "trainer_state.json", "optimizer.pt", COMPLETE):
        (best / name).touch()
    paths = Paths(tmp_path)
    outputs.keep(best, paths)
    assert names(paths.checkpoint) == model


# the real thing


@pytest.fixture(scope="module")
def training(tmp_path_factory: pytest.TempPathFactory) -> Training:
    """The tiny model's training, undisturbed, and as it stood at some moments."""
    return Training(tmp_path_factory.mktemp("training"))


def harmed(training: Training, folder: Path, file: str, how: str) -> tuple[Path, Path]:
    """Copy checkpoints as they stood, damage the last one, and return both folders."""
    resume = shutil.copytree(training.stood[-1], folder / "resume")
    last = max(attack.by_step(resume).items())[1]
    attack.damage(last / file, how, training.earliest / file, Random(0))  # noqa: S311 (no secret)
    return resume, last


@pytest.mark.slow
@pytest.mark.parametrize(
    ("file", "how"),
    [("model.safetensors", "truncated"), ("optimizer.pt", "flipped"), ("trainer_state.json", "missing")],
)
def test_a_training_goes_on_from_damaged_checkpoints_to_the_same_bytes(
    training: Training, tmp_path: Path, file: str, how: str
) -> None:
    resume, last = harmed(training, tmp_path, file, how)
    attack.stray(resume, "checkpoint-abc")
    attack.turn_clock(resume, "2100")
    learned, said = training.learn(resume, tmp_path / "out", 3600)
    assert learned == training.expected
    assert f"{last.name} is passed over: " in said
    assert "going on from checkpoint-" in said


@pytest.mark.slow
def test_a_pickle_in_a_checkpoint_runs_no_code_even_with_right_checksums(
    training: Training, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Payload:
        def __reduce__(self) -> Any:
            return Path.touch, (tmp_path / "ran",)

    for file in ("optimizer.pt", "scheduler.pt", "rng_state.pth", "training_args.bin"):
        resume = shutil.copytree(training.stood[-1], tmp_path / file)
        last = max(attack.by_step(resume).items())[1]
        torch.save(Payload(), last / file)
        mark(last)
        if file == "training_args.bin":
            assert training.learn(resume, tmp_path / "out", 3600)[0] == training.expected, "nobody loads it"
            continue
        with pytest.raises(pickle.UnpicklingError, match="weights_only"):
            training.learn(resume, tmp_path / "out", 3600)
    assert not (tmp_path / "ran").exists()


@pytest.mark.slow
def test_a_best_checkpoint_that_is_damaged_while_training_runs_does_not_become_the_model(
    training: Training, tmp_path: Path
) -> None:
    class Damaging(Watched):
        def measure(
            self, predictions: pl.DataFrame, rows: pl.DataFrame, targets: dict[str, Any]
        ) -> Statistics:
            self.evaluated += 1
            for path in attack.by_step(self.resume).values() if self.evaluated == attack.EPOCHS else ():
                os.truncate(path / "model.safetensors", 100)
            # the first epoch stays the best
            falling = pl.DataFrame({"number": [1 / self.evaluated] * rows.height})
            return {**super().measure(predictions, rows, targets), "macro_f1": Statistic("mean", falling)}

    (tmp_path / "kept").mkdir()
    with pytest.raises(
        InputError, match=r"damaged on the disk before training ended at step 12; run the same command"
    ):
        training.learn(
            tmp_path / "resume", tmp_path / "out", 3600, Damaging(tmp_path / "resume", tmp_path / "kept")
        )
    assert not Paths(tmp_path / "out").checkpoint.exists()
    assert training.learn(tmp_path / "resume", tmp_path / "out", 3600)[0] == training.expected


def test_what_an_undisturbed_training_keeps_is_whole(training: Training, tmp_path: Path) -> None:
    for number, stood in enumerate(training.stood):
        copied = shutil.copytree(stood, tmp_path / f"{number}")
        before = folder_digest(copied)
        assert last_whole(copied) == max(attack.by_step(copied).items())[1]
        assert folder_digest(copied) == before
