"""Trackers: what is written down for them, that real ones hold it, and that none of them can hurt a training."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tasks.shared import base_models, tracking
from tasks.shared.errors import InputError
from tasks.shared.files import digests, write_json
from tasks.shared.params import Params
from tasks.shared.params_file import Layer, lay_over
from tasks.shared.paths import Paths
from tests.support.project import ROOT
from tests.support.trackers import READ, Held, installed, is_there
from tests.support.wait import PATIENCE, until
from tests.support.way import PROBLEM, way

KEY = "0123456789abcdef"
# which are told by the tests of what holds for all of them
ONE = installed("tensorboard")
# nothing listens there
NOBODY = "http://somebody:secret@127.0.0.1:9"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout of its own for what is told, and all the time that tools need on a machine that is busy."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setattr(tracking, "PATIENCE", PATIENCE)
    monkeypatch.setattr(tracking, "HURRY", PATIENCE)
    for name in [
        name
        for name in os.environ
        if name.startswith(("MLFLOW_", "WANDB_", "TRACKIO_", "TENSORBOARD_", "RETRAIN_"))
    ]:
        monkeypatch.delenv(name)
    return tmp_path / tracking.FOLDER


def told(*tools: str, **more: Any) -> Params:
    return Params.model_validate({"trackers": {"report_to": list(tools), **more}})


def train_for(params: Params, *steps: int, interrupted: bool = False) -> None:
    """Write down what a training would, to its end or until somebody presses Ctrl-C."""
    with tracking.training(params, KEY) as journal:
        for step in steps:
            journal.scores(step, {"train/loss": 1 / step, "train/epoch": step / 10})
        if interrupted:
            raise KeyboardInterrupt


def measure(paths: Paths) -> None:
    write_json(paths.metric("train"), {"best_step": 10, "validation": {"loss": 0.1}})
    scores: dict[str, Any] = {
        "accuracy": 0.75,
        "interval": {"accuracy": [0.7, 0.8]},
        "headline": {"name": "accuracy", "higher_is_better": True},
    }
    write_json(paths.metric("evaluate"), scores | {"baselines": {"majority": {"accuracy": 0.5}}})


# what is written down


def test_a_training_that_goes_on_writes_nothing_down_twice(tmp_path: Path) -> None:
    tracking.Journal(tmp_path).scores(10, {"train/loss": 0.5, "train/epoch": 1.0})
    again = tracking.Journal(tmp_path)
    again.scores(10, {"train/epoch": 1.0, "train/loss": 0.5})
    again.scores(10, {"eval/loss": 0.4})
    again.scores(20, {"train/loss": 0.3})
    found, end = tracking.lines(tmp_path)
    assert [(line["step"], line["scores"]) for line in found] == [
        (10, {"train/loss": 0.5, "train/epoch": 1.0}),
        (10, {"eval/loss": 0.4}),
        (20, {"train/loss": 0.3}),
    ]
    assert tracking.lines(tmp_path, end) == ([], end)


def test_a_line_that_a_kill_has_cut_short_is_passed_over_and_spoils_none_behind_it(tmp_path: Path) -> None:
    tracking.Journal(tmp_path).scores(10, {"train/loss": 0.5})
    with (tmp_path / tracking.JOURNAL).open("a") as file:
        file.write('{"step": 20, "sco')
    assert [line["step"] for line in tracking.lines(tmp_path)[0]] == [10]
    tracking.Journal(tmp_path).scores(30, {"train/loss": 0.5})
    assert [line["step"] for line in tracking.lines(tmp_path)[0]] == [10, 30]


def test_where_nobody_is_told_nothing_is_written(here: Path) -> None:
    train_for(told(), 10)
    with tracking.measuring(told(), Path("models/checkpoint")) as journal:
        journal.tested(Paths())
    assert not here.exists()


def test_only_the_first_of_several_processes_tells(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "1"}.items():
        monkeypatch.setenv(name, value)
    train_for(told("tensorboard"), 10)
    assert not here.exists()


# what is refused


def test_a_tool_that_is_not_installed_is_refused_with_what_installs_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tracking, "DISTRIBUTIONS", dict.fromkeys(READ, "no-such-distribution"))
    with pytest.raises(InputError) as refused:
        tracking.refuse_missing(told("mlflow", "wandb", "trackio").trackers)
    assert str(refused.value) == (
        "trackers.report_to: mlflow, wandb, trackio: not installed; `pip install --constraint constraints.txt 'retrain[mlflow,wandb]'` "
        "and `pip install --constraint constraints.txt --no-deps trackio gradio_client Brotli python-multipart`, or leave it out"
    )
    monkeypatch.setenv(tracking.SWITCH, "off")
    tracking.refuse_missing(told("mlflow").trackers)


def test_a_folder_of_a_tools_name_in_the_checkout_does_not_count_as_the_tool(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "no_such_tool").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(tracking, "DISTRIBUTIONS", {"wandb": "no_such_tool"})
    with pytest.raises(InputError, match=r"wandb: not installed"):
        tracking.refuse_missing(told("wandb").trackers)


@pytest.mark.parametrize("field", ["project", "run_name"])
@pytest.mark.parametrize(
    "secret",
    [
        "0123456789abcdef0123456789abcdef01234567",
        "hf_" + "aB3" * 12,
        "dapi" + "0a" * 16,
        "https://me:word@mlflow.example.org",
        "wandb_v1_" + "x" * 40,
    ],
)
def test_a_name_that_looks_like_a_key_is_refused_and_never_repeated(field: str, secret: str) -> None:
    with pytest.raises(
        InputError, match=rf"trackers\.{field}: this looks like a key, a token or a URL"
    ) as refused:
        lay_over(Layer("params.yaml", {}), Layer("command line", {"trackers": {field: secret}}))
    assert secret not in str(refused.value)
    assert "word" not in str(refused.value)


@pytest.mark.parametrize("name", ["", " x", "a/b", "../x", "a\nb", "x" * 97])
def test_a_name_that_no_tool_takes_is_refused(name: str) -> None:
    with pytest.raises(InputError, match=r"trackers\.project: "):
        lay_over(Layer("params.yaml", {}), Layer("command line", {"trackers": {"project": name}}))


def test_there_is_no_param_for_a_key() -> None:
    with pytest.raises(InputError, match=r"there is no param 'trackers\.api_key'") as refused:
        lay_over(Layer("params.yaml", {"trackers": {"api_key": "secret"}}))
    assert "secret" not in str(refused.value)


def test_names_as_people_give_them_are_taken_and_each_tool_is_told_once() -> None:
    trackers = told("wandb", "wandb", run_name="calm-otter 2.1_b", project="Tickets").trackers
    assert (trackers.report_to, trackers.run_name, trackers.project) == (
        ["wandb"],
        "calm-otter 2.1_b",
        "Tickets",
    )


# what trackers hold


def value(held: Held, name: str) -> list[tuple[int, float]]:
    return [(step, pytest.approx(score)) for step, score in held.scores[name]]


@pytest.mark.slow
@pytest.mark.parametrize("tool", installed())
def test_a_tracker_holds_params_curves_test_scores_and_the_verdict_in_one_run(tool: str, here: Path) -> None:
    params, paths = told(tool), Paths()
    measure(paths)
    write_json(paths.checkpoint / "config.json", {})
    with tracking.training(params, KEY) as journal:
        for step in (10, 20):
            journal.scores(step, {"train/loss": 1 / step})
        journal.made(paths)
    with tracking.measuring(params, paths.checkpoint) as journal:
        journal.tested(paths)
    (held,) = READ[tool](here)
    assert held.name.startswith("ticket-intents-01234567")
    assert value(held, "train/loss") == [(10, 0.1), (20, 0.05)]
    assert value(held, "best/step") == [(20, 10)]
    for name, score in {
        "test/accuracy": 0.75,
        "test/accuracy_low": 0.7,
        "baseline/majority/accuracy": 0.5,
    }.items():
        assert value(held, name) == [(20, score)]
    assert float(held.params["train.learning_rate"]) == params.train.learning_rate
    assert "Better than the majority baseline" in json.dumps(held.texts)
    assert not [name for name in held.params if name.startswith("trackers")]


@pytest.mark.slow
@pytest.mark.parametrize("tool", installed())
def test_a_training_that_was_interrupted_goes_on_in_the_same_tracked_run_and_one_done_again_has_another(
    tool: str, here: Path
) -> None:
    with pytest.raises(KeyboardInterrupt):
        train_for(told(tool), 10, 20, interrupted=True)
    # from the checkpoint at 10
    train_for(told(tool), 20, 30)
    (held,) = READ[tool](here)
    assert [step for step, _ in held.scores["train/loss"]] == [10, 20, 30]
    train_for(told(tool), 10)
    first, second = READ[tool](here)
    assert [step for step, _ in first.scores["train/loss"]] == [10, 20, 30]
    assert [step for step, _ in second.scores["train/loss"]] == [10]


KILLED = """
import sys, time
from tasks.shared import tracking
from tasks.shared.params import Params
with tracking.training(Params.model_validate({"trackers": {"report_to": [sys.argv[1]]}}), sys.argv[2]) as journal:
    journal.scores(10, {"train/loss": 0.5, "train/epoch": 1.0})
    print("told", flush=True)
    time.sleep(600)
"""


@pytest.mark.slow
@pytest.mark.parametrize("tool", ONE)
def test_a_tracker_ends_with_a_stage_that_is_killed_and_what_it_missed_is_told_later(
    tool: str, here: Path
) -> None:
    with subprocess.Popen([sys.executable, "-c", KILLED, tool, KEY], stdout=subprocess.PIPE) as stage:
        assert stage.stdout is not None
        assert stage.stdout.readline() == b"told\n"
        (teller,) = until(lambda: tellers(stage.pid))
        stage.send_signal(signal.SIGKILL)
    until(
        lambda: (
            not Path(f"/proc/{teller}/cmdline").exists() or not Path(f"/proc/{teller}/cmdline").read_bytes()
        )
    )
    train_for(told(tool), 10, 20)
    (held,) = READ[tool](here)
    # a tool may have been told in the moment of the kill, and is told again then
    assert dict(held.scores["train/loss"]) == {10: 0.5, 20: pytest.approx(0.05)}


def tellers(parent: int) -> list[int]:
    """Return the tellers that a process has started."""
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text("ascii").split()
    return [int(pid) for pid in children if b"flows.trackers" in Path(f"/proc/{pid}/cmdline").read_bytes()]


@pytest.mark.slow
@pytest.mark.skipif(
    not (is_there("tensorboard") and is_there("mlflow")), reason="tensorboard or mlflow is not installed"
)
def test_of_several_tools_one_that_is_down_is_a_sentence_without_a_secret_and_the_others_are_told(
    here: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", NOBODY)
    train_for(told("mlflow", "tensorboard"), 10)
    (said,) = capfd.readouterr().out.splitlines()
    assert said.startswith("warning: mlflow cannot be told: ")
    assert "the stage goes on, and it is told later what it misses" in said
    assert "secret" not in said
    assert [step for step, _ in READ["tensorboard"](here)[0].scores["train/loss"]] == [10]
    # it is there again, and hears all when this model is trained or measured next
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    with tracking.training(told("mlflow"), KEY) as journal:
        journal.scores(10, {"train/loss": 0.1})
    assert [step for step, _ in READ["mlflow"](here)[0].scores["train/loss"]] == [10]


@pytest.mark.parametrize("tool", ONE)
def test_a_tool_that_takes_no_end_is_left_behind_with_a_sentence(
    tool: str, here: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(tracking, "PATIENCE", 0.0)
    train_for(told(tool), 10)
    assert (
        capfd.readouterr().out
        == f"warning: {tool} takes too long; what it has not heard, it hears when this model is trained or measured next\n"
    )


def test_a_tool_whose_process_cannot_begin_or_dies_is_a_sentence(
    here: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(tracking, "TELLER", "no_such_module")
    train_for(told("wandb"), 10)
    assert "warning: wandb could not be told: its process ended with status 1; " in capfd.readouterr().out
    monkeypatch.setattr(sys, "executable", str(here / "nowhere"))
    train_for(told("wandb"), 10)
    assert capfd.readouterr().out.startswith("warning: wandb cannot be told now: [Errno 2]")


@pytest.mark.parametrize("tool", ONE)
def test_what_is_told_is_for_its_owner_alone(tool: str, here: Path) -> None:
    train_for(told(tool), 10)
    assert here.stat().st_mode & 0o077 == 0
    assert (here / f"runs/{KEY}/{tool}.log").stat().st_mode & 0o077 == 0


@pytest.mark.slow
@pytest.mark.parametrize("tool", ONE)
def test_the_name_of_the_flows_run_and_a_name_that_is_given_are_what_trackers_call_it(
    tool: str, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(tracking.NAME, "calm-otter")
    train_for(told(tool), 10)
    train_for(told(tool, run_name="mine"), 10)
    train_for(told(tool), 10)
    monkeypatch.setenv(tracking.NAME, "../../.a/<b>")
    train_for(told(tool), 10)
    assert [held.name for held in READ[tool](here)] == ["a-b-", "calm-otter", "calm-otter-2", "mine"]


# bits


@pytest.mark.slow
@pytest.mark.parametrize("tool", installed())
def test_a_training_that_is_told_gives_the_same_bits(
    tool: str, here: Path, tiny_model: Path, once: Callable[..., Path]
) -> None:
    """With a real training: weights, metrics, curves and the generators of the end."""
    made = way(
        here.parent / "way",
        tiny_model,
        train={"max_steps": 8, "logging_steps": 2, "per_device_train_batch_size": 8},
    )
    made.tokenize()
    found = []
    for params in (made.params, made.params.model_copy(update={"trackers": told(tool).trackers})):
        paths = Paths(here.parent / f"out-{len(found)}")
        paths.tokens, paths.splits = made.paths.tokens, made.paths.splits
        with tracking.training(params, KEY) as journal:
            from tasks.train import train

            train(
                params.train,
                base_models.fetch(params.model),
                PROBLEM,
                paths,
                here.parent / f"resume-{len(found)}",
                journal,
            )
            journal.made(paths)
        found.append((digests(here.parent / f"out-{len(found)}"), torch.get_rng_state().tolist()))
    assert found[0] == found[1]
    assert "models/checkpoint/model.safetensors" in found[0][0]
    (held,) = READ[tool](here)
    assert [step for step, _ in held.scores["train/loss"]] == [2, 4, 6, 8]
    assert {"train/learning_rate", "train/grad_norm", "eval/loss", "eval/macro_f1", "best/macro_f1"} <= set(
        held.scores
    )
