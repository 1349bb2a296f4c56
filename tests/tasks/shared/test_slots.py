"""Slots of a device: one at a time, in order of arrival, let go of when the holder dies."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tasks.shared import devices, slots
from tasks.shared.errors import InputError
from tasks.shared.files import sha256
from tests.support.edits import rewrite
from tests.support.project import ROOT, Project

# what a stage does around its work: says that it has the device, and keeps it until a file is there
STAGE = """
import sys, time
from pathlib import Path
from tasks.shared import devices, slots
devices.names = lambda: ["cpu"]
with slots.device(sys.argv[1]):
    print("has it", flush=True)
    while not Path(sys.argv[2]).exists():
        time.sleep(0.02)
"""


class Stages:
    """Processes that hold a slot, or wait for one, until they are let go on."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.env = os.environ | {slots.FOLDER: str(folder / "slots")}
        self.started: list[subprocess.Popen[str]] = []

    def start(self, name: str) -> subprocess.Popen[str]:
        """Start a stage; its process is the only child of a process of its own, as in a run."""
        words = [sys.executable, "-c", STAGE, name, str(self.folder / f"{name}.done")]
        run = [sys.executable, "-c", "import subprocess, sys; subprocess.run(sys.argv[1:])", *words]
        running = subprocess.Popen(
            run, cwd=ROOT, env=self.env, stdout=subprocess.PIPE, text=True, start_new_session=True
        )
        self.started.append(running)
        return running

    def finish(self, name: str) -> None:
        """Let a stage go on."""
        (self.folder / f"{name}.done").touch()

    def end(self) -> None:
        """Kill all that still run."""
        for running in self.started:
            if running.poll() is None:
                os.killpg(running.pid, signal.SIGKILL)
            running.communicate()


@pytest.fixture
def stages(tmp_path: Path) -> Iterator[Stages]:
    """Stages that share the slots of one folder."""
    made = Stages(tmp_path)
    yield made
    made.end()


def line(running: subprocess.Popen[str]) -> str:
    """Return the next line that a stage prints; it waits for as long as that takes."""
    assert running.stdout is not None
    return running.stdout.readline().strip()


def test_stages_take_a_device_one_after_another_in_order_of_arrival_and_say_whom_they_wait_for(
    stages: Stages,
) -> None:
    first = stages.start("first")
    assert line(first) == "has it"
    (holder,) = psutil.Process(first.pid).children()
    waiting = [stages.start("second")]
    told = f"waiting for a slot of cpu behind process {holder.pid} in {ROOT}"
    assert line(waiting[0]) == f"second: {told}"
    waiting.append(stages.start("third"))
    assert line(waiting[1]) == f"third: {told}"
    stages.finish("first")
    while "has it" not in (said := line(waiting[0])):
        assert said
    behind = line(waiting[1])
    assert f"behind process {psutil.Process(waiting[0].pid).children()[0].pid}" in behind
    stages.finish("second")
    assert line(waiting[1]) == "has it"


def test_a_killed_holder_and_a_killed_waiter_leave_nothing_behind(stages: Stages) -> None:
    first, second = stages.start("first"), None
    assert line(first) == "has it"
    second = stages.start("second")
    assert "waiting" in line(second)
    third = stages.start("third")
    assert "waiting" in line(third)
    os.killpg(second.pid, signal.SIGKILL)
    os.killpg(first.pid, signal.SIGKILL)
    assert line(third) == "has it"
    stages.finish("third")
    third.wait()
    assert not list((stages.folder / "slots/cpu/line").glob("[0-9]*"))


def test_an_earlier_run_comes_before_those_that_wait_already(stages: Stages) -> None:
    first = stages.start("first")
    assert line(first) == "has it"
    # a run whose process is older than the second's, and which asks for the device only now
    gate = stages.folder / "gate"
    words = [sys.executable, "-c", STAGE, "earlier", str(stages.folder / "earlier.done")]
    script = "import subprocess, sys, time\nfrom pathlib import Path\nwhile not Path(sys.argv[1]).exists(): time.sleep(0.02)\n"
    script += "subprocess.run(sys.argv[2:])"
    earlier = subprocess.Popen(
        [sys.executable, "-c", script, str(gate), *words],
        cwd=ROOT,
        env=stages.env,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    stages.started.append(earlier)
    # the kernel's clock tells starts apart by hundredths of a second
    time.sleep(0.1)
    second = stages.start("second")
    assert "waiting" in line(second)
    gate.touch()
    assert "waiting" in line(earlier)
    stages.finish("first")
    assert line(earlier) == "has it"
    stages.finish("earlier")
    while "has it" not in (said := line(second)):
        assert said


def test_as_many_at_once_as_the_setting_says(stages: Stages) -> None:
    stages.env[slots.SLOTS] = "2"
    first, second = stages.start("first"), stages.start("second")
    assert line(first) == "has it"
    assert line(second) == "has it"
    third = stages.start("third")
    told = line(third)
    assert told.startswith("third: waiting for a slot of cpu behind process ")
    assert " and process " in told
    stages.finish("second")
    assert line(third) == "has it"


@pytest.mark.parametrize("wrong", ["0", "-1", "two", ""])
def test_a_number_of_slots_that_is_none_is_refused(wrong: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(slots.SLOTS, wrong)
    with pytest.raises(
        InputError, match=r"RETRAIN_DEVICE_SLOTS: '.*' is not a number of slots; give 1 or more"
    ):
        slots.number()


@pytest.mark.slow
def test_under_dvc_a_stage_waits_for_the_device_too(trained: Project) -> None:
    folder = Path(trained.env[slots.FOLDER])
    holding = subprocess.Popen(
        [sys.executable, "-c", STAGE, "other", str(folder / "other.done")],
        cwd=ROOT,
        env=trained.env,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert line(holding) == "has it"
    repro = trained.popen("dvc", "repro", "-f", "-s", "evaluate")
    assert repro.stdout is not None
    told = next(said for said in repro.stdout if "waiting for a slot" in said)
    assert told.strip() == f"evaluate: waiting for a slot of cpu behind process {holding.pid} in {ROOT}"
    (folder / "other.done").touch()
    repro.communicate()
    assert repro.returncode == 0
    holding.wait()


@pytest.mark.slow
def test_the_number_of_threads_is_a_param_and_decides_the_bits_whatever_the_machine_says(
    trained: Project,
) -> None:
    rewrite(trained.root / "params.yaml", "num_threads:", "num_threads: 2")
    rewrite(trained.root / "params.yaml", "max_steps: -1", "max_steps: 2")
    made = set()
    for threads in ("1", "3"):
        trained.env["OMP_NUM_THREADS"] = threads
        trained.dvc("repro", "-f", "-s", "train")
        assert '"threads": 2' in (trained.root / "metrics/train.json").read_text("utf-8")
        made.add(sha256(trained.root / "models/checkpoint/model.safetensors"))
    assert len(made) == 1


def test_each_cuda_device_is_a_device_of_its_own() -> None:
    import torch

    names = devices.names()
    assert len(names) == max(1, torch.cuda.device_count())
    assert all(name == "cpu" or name.startswith("gpu-") for name in names)


def test_a_folder_that_cannot_hold_slots_is_told_with_the_setting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv(slots.FOLDER, str(tmp_path / "file"))
    monkeypatch.setattr(devices, "names", lambda: ["cpu"])
    with (
        pytest.raises(InputError, match="set RETRAIN_SLOTS_FOLDER to a folder that can be written"),
        slots.device("train"),
    ):
        pass


def test_a_link_in_a_folder_of_slots_leads_nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "thesis").write_text("years", "utf-8")
    (tmp_path / "slots/cpu").mkdir(parents=True)
    (tmp_path / "slots/cpu/slot-0").symlink_to(tmp_path / "thesis")
    monkeypatch.setenv(slots.FOLDER, str(tmp_path / "slots"))
    monkeypatch.setattr(devices, "names", lambda: ["cpu"])
    with (
        pytest.raises(
            InputError, match="slot-0 is a link, not a slot; remove it, or set RETRAIN_SLOTS_FOLDER"
        ),
        slots.device("train"),
    ):
        pass
    assert (tmp_path / "thesis").read_text("utf-8") == "years"
