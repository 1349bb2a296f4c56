"""Stages are processes of their own: they end with whoever started them, and several of them train one model."""

import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing

import pytest

from tasks.shared.files import digests, read_json
from tests.support.edits import rewrite
from tests.support.hold import held
from tests.support.processes import alive
from tests.support.project import ROOT, Project, tiny
from tests.support.wait import PATIENCE, until

LONGER = pytest.mark.slow


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "how"),
    [
        (["flows", "run"], signal.SIGKILL),
        (["dvc", "repro"], signal.SIGTERM),
        pytest.param(["flows", "run"], signal.SIGTERM, marks=LONGER),
        pytest.param(["dvc", "repro"], signal.SIGKILL, marks=LONGER),
    ],
)
def test_a_killed_driver_leaves_nothing_behind(
    trained: Project, words: list[str], how: signal.Signals
) -> None:
    # whose stages are its own children
    driver = tiny(trained.root)
    with held(driver) as hold:
        running = driver.popen(*words)
        hold.reached()
        running.send_signal(how)
        running.wait(PATIENCE)
        until(lambda: not alive(driver))


def test_a_temporary_server_whose_run_is_gone_already_does_not_start() -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    command = [sys.executable, "-m", "flows.server.temporary", "0", str(gone.pid)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert (done.returncode, done.stderr) == (1, "")


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=LONGER)])
def test_a_signal_to_all_of_a_runs_processes_is_recorded_by_the_temporary_server(
    trained: Project, how: signal.Signals
) -> None:
    with held(trained) as hold:
        running = trained.popen("flows", "run")
        hold.reached()
        # as Ctrl-C and `timeout` do
        os.killpg(running.pid, how)
        output, _ = running.communicate(timeout=PATIENCE)
        until(lambda: not alive(trained))
    assert running.returncode == 128 + how, output
    for noise in ("Traceback", "Crash detected", "Finished in state Crashed"):
        assert noise not in output
    assert re.search(r"keeping a checkpoint \.\.\. kept step \d+; the same command goes on\n", output)
    assert "interrupted; run the same command again to go on\n" in output
    with closing(sqlite3.connect(trained.root / ".retrain/prefect/prefect.db")) as database:
        assert database.execute("select state_name from flow_run").fetchall() == [("Crashed",)]


def test_an_interrupted_flow_ends_its_stage_and_says_how_to_go_on(trained: Project, server: str) -> None:
    trained.env["PREFECT_API_URL"] = server
    with held(trained) as hold:
        running = trained.popen("flows", "run")
        hold.reached()
        os.kill(running.pid, signal.SIGINT)
        output, _ = running.communicate(timeout=PATIENCE)
        assert running.returncode == 130, output
        until(lambda: not alive(trained))


@pytest.mark.slow
def test_two_processes_train_one_model_the_same_way_twice(trained: Project) -> None:
    rewrite(trained.root / "params.yaml", "nproc_per_node:", "nproc_per_node: 2 #")
    shutil.rmtree(trained.root / "models")
    first = trained.run("python", "-m", "tasks.train")
    assert "validation at step" in first.stdout
    assert (
        first.stdout.count(
            "train.cpu_shortcuts are left out: they were tested with world_size 1, and it is 2\n"
        )
        == 1
    )
    assert read_json(trained.root / "metrics/train.json")["processes"] == 2
    once = digests(trained.root / "models/checkpoint")
    shutil.rmtree(trained.root / "models")
    trained.run("python", "-m", "tasks.train")
    assert digests(trained.root / "models/checkpoint") == once


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_is_one_sentence_and_the_second_ends_at_once(how: signal.Signals) -> None:
    asleep = "import time\nfrom flows.cli.signals import ends_in_order\nwith ends_in_order():\n    %s"
    once = "print(flush=True)\n    time.sleep(60)"
    twice = "try:\n        print(flush=True)\n        time.sleep(60)\n    finally:\n        print(flush=True)\n        time.sleep(60)"
    for body, times, said in (
        (once, 1, "interrupted; run the same command again to go on\n"),
        (twice, 2, "ended at once\n"),
    ):
        command = [sys.executable, "-c", asleep % body]
        process = subprocess.Popen(
            command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for _ in range(times):
            assert process.stdout is not None
            process.stdout.readline()
            process.send_signal(how)
        _, errors = process.communicate(timeout=PATIENCE)
        assert (process.returncode, errors) == (128 + how, said)
