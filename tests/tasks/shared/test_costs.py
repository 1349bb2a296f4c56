"""What a stage took: its own memory, not its parent's; no worker's; estimates by rows and epochs."""

import json
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import psutil
import pytest

from flows.engine.stage import Shown
from flows.report.costs import Estimate, estimates, rows_of, taken
from tasks.shared import costs
from tasks.shared.costs import KEPT, LARGEST, Cost, model_of, note, processes_of, size_of, steps_of, told
from tasks.shared.params import Params
from tasks.shared.params_file import Layer, lay_over
from tasks.shared.stage import FAILED
from tests.support.project import ROOT

# a stage that is started by a process that has held more than it ever will
PARENT = """
import subprocess, sys
held = bytearray(b"x") * 1_100_000_000
sys.exit(subprocess.run([sys.executable, "-c", sys.argv[1]]).returncode)
"""
STAGE = """
from tasks.shared.stage import stage
with stage("split"):
    pass
"""
PARAMS = Params()


def ran(seconds: float, **others: object) -> Cost:
    """Return what a training of 100 rows for two epochs took."""
    made = Cost(seconds, 10**9, "cpu, 2 cores", None, PARAMS.problem, model_of(PARAMS), 2.0, 100)
    return replace(made, **others)  # type: ignore[arg-type]


def noted(folder: Path) -> list[Cost]:
    """Return what the stage has noted in a folder."""
    return taken(folder, ["split"]).get("split", [])


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in which a stage can start."""
    (tmp_path / "params.yaml").write_text((ROOT / "params.yaml").read_text("utf-8"), "utf-8")
    (tmp_path / "pins.yaml").write_text((ROOT / "pins.yaml").read_text("utf-8"), "utf-8")
    (tmp_path / "metrics").mkdir()
    (tmp_path / "metrics/ingest.json").write_text('{"rows": 1183}', "utf-8")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    return tmp_path


def test_a_stage_notes_its_own_memory_whatever_its_parent_had(checkout: Path) -> None:
    subprocess.run([sys.executable, "-c", PARENT, STAGE], cwd=checkout, check=True)
    (cost,) = noted(checkout)
    assert cost.rows == 1183
    assert cost.seconds > 0
    if sys.platform == "linux":
        assert cost.memory is not None
        assert 10_000_000 < cost.memory < 1_000_000_000


def test_a_worker_of_torchrun_notes_nothing_and_the_file_stays_small(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = checkout / ".retrain/costs/split.jsonl"
    file.parent.mkdir(parents=True)
    before = "\n".join(json.dumps({"seconds": 1.0, "memory": None, "device": "x" * 90}) for _ in range(1000))
    file.write_text(before + "\n", "utf-8")
    with monkeypatch.context() as patched:
        for name, value in {"RANK": "0", "WORLD_SIZE": "2", "LOCAL_RANK": "0"}.items():
            patched.setenv(name, value)
        subprocess.run([sys.executable, "-c", STAGE], cwd=checkout, check=True)
    assert file.read_text("utf-8") == before + "\n"
    assert file.stat().st_size > LARGEST
    subprocess.run([sys.executable, "-c", STAGE], cwd=checkout, check=True)
    assert len(noted(checkout)) == KEPT
    assert noted(checkout)[-1].device.startswith("cpu")


def test_a_stage_that_the_shell_makes_half_of_one_of_several_is_refused_before_its_work(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RANK", "1")
    done = subprocess.run(
        [sys.executable, "-c", STAGE], cwd=checkout, check=False, capture_output=True, text=True
    )
    assert done.returncode == FAILED
    assert done.stderr.startswith("error: split: RANK 1 in the environment would make this one of several")
    assert done.stderr.count("\n") == 1


def test_an_estimate_is_the_median_of_like_runs_scaled_by_rows_and_epochs() -> None:
    params = PARAMS.model_copy(update={"train": PARAMS.train.model_copy(update={"num_train_epochs": 4.0})})
    runs = [
        ran(1000.0, model="another"),
        ran(500.0, device="a GPU"),
        ran(3.0, is_rest=True),
        *(ran(seconds) for seconds in (10.0, 90.0, 20.0)),
    ]
    found = estimates({"train": runs, "package": runs}, params, 200)
    # twice the rows, twice the epochs
    assert (found["train"].seconds, found["train"].runs, found["train"].device) == (80.0, 3, "cpu, 2 cores")
    assert found["package"].seconds == 20.0, "packing takes as long however many rows there were"
    assert estimates({"train": runs}, params, None)["train"].seconds == 40.0
    assert estimates({"train": [runs[0]]}, params, 200) == {}


def test_runs_on_ray_and_by_several_processes_are_no_measure_of_others() -> None:
    params = lay_over(
        Layer("some", {"engine": {"name": "ray"}, "train": {"distributed": {"nproc_per_node": 2}}})
    )
    its = {"engine": "ray", "processes": processes_of("train", params)}
    runs = [ran(10.0), ran(20.0, engine="ray"), ran(30.0, **its), ran(40.0, processes=its["processes"])]
    runs = [replace(run, epochs=PARAMS.train.num_train_epochs) for run in runs]
    assert estimates({"train": runs}, params, 100)["train"].seconds == 30.0
    assert estimates({"train": runs}, PARAMS, 100)["train"].seconds == 10.0
    # of other stages there is one process
    assert estimates({"evaluate": runs}, params, 100)["evaluate"].seconds == 20.0
    # and split is computed here in any case
    assert estimates({"split": runs}, params, 100)["split"].seconds == 15.0


def test_a_training_of_some_steps_is_no_measure_of_one_of_epochs_and_takes_as_long_however_many_rows_there_are() -> (
    None
):
    some = lay_over(Layer("some", {"train": {"max_steps": 120}}))
    runs = [ran(7.0, epochs=None), ran(10.0, epochs=None, steps=60)]
    assert estimates({"train": runs}, PARAMS, 100) == {}
    assert estimates({"train": [ran(10.0)]}, some, 100) == {}
    assert estimates({"train": runs}, some, 1000)["train"] == Estimate(20.0, 10**9, "cpu, 2 cores", 1)
    assert (steps_of("train", some), steps_of("evaluate", some), steps_of("train", PARAMS)) == (
        120,
        None,
        None,
    )
    # as lines are that were noted before
    assert told({"seconds": 1.0, "memory": None, "device": "cpu, 2 cores"}) == Cost(1.0, None, "cpu, 2 cores")


@pytest.mark.parametrize(
    ("stage", "engine", "device"),
    [
        ("train", {"name": "ray"}, "nodes of a Ray cluster"),
        ("evaluate", {"name": "ray", "use_gpu": True}, "GPUs of nodes of a Ray cluster"),
        ("tokenize", {"name": "ray", "use_gpu": True}, "nodes of a Ray cluster"),
        ("split", {"name": "ray", "use_gpu": True}, "cpu"),
        ("train", {"name": "local", "use_gpu": True}, "cpu"),
    ],
)
def test_what_nodes_compute_has_their_device_and_no_memory(
    stage: str, engine: dict[str, object], device: str, checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(checkout)
    cost = told(note(stage, lay_over(Layer("some", {"engine": engine}))))
    assert cost is not None
    if device == "cpu":
        assert not cost.device.endswith("cluster")
        assert (cost.memory is None) == (sys.platform != "linux")
    else:
        assert (cost.device, cost.memory, cost.device_memory) == (device, None, None)


@pytest.mark.parametrize(
    "error", [psutil.AccessDenied(1), RuntimeError("CUDA error: unknown error"), OSError("full")]
)
def test_a_stage_that_is_done_does_not_fail_by_what_it_notes(
    error: Exception, checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails() -> float:
        raise error

    monkeypatch.chdir(checkout)
    monkeypatch.setattr(costs, "_age", fails)
    assert note("split", PARAMS) == {}


def test_what_code_of_another_commit_tells_is_passed_over_where_it_does_not_fit() -> None:
    cost = ran(1.0)
    assert told(asdict(cost)) == cost
    assert told({**asdict(cost), "joules": 7}) == cost
    for other in ({}, {"seconds": 1.0}, {**asdict(cost), "memory": "much"}, None, ["seconds"]):
        shown = Shown("train")
        shown.update({"cost": other})
        assert shown.cost is None


def test_data_that_goes_meanwhile_has_no_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "rows.csv").write_text("text,label\n", "utf-8")
    assert size_of(tmp_path) == 11
    assert size_of(tmp_path / "nothing") is None

    def goes(path: Path) -> bool:
        path.unlink()
        return True

    monkeypatch.setattr(Path, "is_file", goes)
    assert size_of(tmp_path) is None


def test_a_torn_line_is_passed_over_and_the_next_is_whole(checkout: Path) -> None:
    file = checkout / ".retrain/costs/split.jsonl"
    file.parent.mkdir(parents=True)
    file.write_text('{"seconds": 1.0, "mem', "utf-8")
    subprocess.run([sys.executable, "-c", STAGE], cwd=checkout, check=True)
    assert len(noted(checkout)) == 1


def test_rows_are_foreseen_by_the_size_of_the_data() -> None:
    assert rows_of(2000, [ran(1.0, rows=100, size=1000)]) == 200
    assert rows_of(None, [ran(1.0, rows=100, size=1000)]) is None
    assert rows_of(2000, [ran(1.0)]) is None
