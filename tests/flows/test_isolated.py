"""Runs in worktrees of their own: many at once, saved as experiments, killed and gone on with, the checkout untouched."""

import json
import os
import re
import signal
import subprocess

import pytest

from tasks.shared.files import digests
from tests.support.edits import flip
from tests.support.hold import held
from tests.support.processes import alive
from tests.support.project import Project
from tests.support.server import artifacts, flow_run
from tests.support.stages import STAGES, happened
from tests.support.wait import PATIENCE, until


@pytest.fixture
def watched(project: Project, server: str) -> Project:
    """A clone whose runs are seen by the tests' Prefect server."""
    project.env["PREFECT_API_URL"] = server
    return project


def start(project: Project, *words: str) -> subprocess.Popen[str]:
    return project.popen("flows", "run", "--isolated", *words)


def said(running: subprocess.Popen[str]) -> str:
    output, _ = running.communicate(timeout=PATIENCE)
    assert running.returncode == 0, output
    return output


def experiments(project: Project) -> list[str]:
    return project.dvc("exp", "list", "--name-only").stdout.split()


def worktrees(project: Project) -> int:
    return len(project.run("git", "worktree", "list").stdout.splitlines())


@pytest.mark.slow
def test_four_runs_at_once_are_four_experiments_that_computed_what_they_share_once(
    watched: Project, server: str
) -> None:
    before = {name: digest for name, digest in digests(watched.root).items() if not name.startswith("base/")}
    rates = ("0.001", "0.002", "0.003", "0.004")
    outputs = [said(running) for running in [start(watched, "--train.learning-rate", rate) for rate in rates]]
    ran = [stage for output in outputs for stage, what in happened(output).items() if what == "ran"]
    assert {stage: ran.count(stage) for stage in STAGES} == {
        "ingest": 1,
        "split": 1,
        "tokenize": 1,
        "train": 4,
        "evaluate": 4,
        "package": 4,
        "judge": 4,
    }
    names = experiments(watched)
    assert len(names) == 4
    assert worktrees(watched) == 1
    assert watched.run("git", "status", "--porcelain").stdout == ""
    assert {
        name: digest for name, digest in digests(watched.root).items() if not name.startswith("base/")
    } == before
    commits = watched.run("git", "for-each-ref", "--format=%(objectname)", "refs/exps").stdout.split()
    kept = watched.root / ".dvc/tmp/exps/cache"
    assert all((kept / commit[:2] / commit[2:]).exists() for commit in commits), (
        "DVC need not read them again"
    )
    shown = json.loads(watched.dvc("exp", "show", "--json").stdout)
    listed = [experiment for row in shown for experiment in row["experiments"] or []]
    params = {
        experiment["name"]: experiment["revs"][0]["data"]["params"]["params.yaml"]["data"]
        for experiment in listed
    }
    assert {str(param["train"]["learning_rate"]) for param in params.values()} == set(rates)

    # one of them is brought back whole, and its model is the one it trained
    watched.dvc("exp", "apply", names[0])
    assert "up to date" in watched.dvc("status").stdout
    assert (watched.root / "models/package/model.safetensors").exists()
    assert f"learning_rate: {params[names[0]]['train']['learning_rate']}" in (
        watched.root / "params.yaml"
    ).read_text("utf-8")
    watched.run("git", "stash", "-q", "--include-untracked")

    # nothing to do makes no second experiment, and says which one it equals
    again = said(start(watched, "--train.learning-rate", str(params[names[0]]["train"]["learning_rate"])))
    assert f"this run equals {names[0]}" in again
    assert set(happened(again).values()) == {"cached (restored)"}
    assert sorted(experiments(watched)) == sorted(names)
    run = flow_run(server, again)
    assert f"experiment:{names[0]}" in run["tags"]
    assert run["state"]["message"].endswith(f"nothing new, equals {names[0]}")
    assert f"**Nothing has changed since `{names[0]}`**" in artifacts(server, run)["report"]["data"]


@pytest.mark.slow
def test_equal_runs_train_once_and_the_one_that_waits_takes_over_when_the_other_dies(
    trained: Project, server: str
) -> None:
    trained.env["PREFECT_API_URL"] = server
    with held(trained) as hold:
        first = start(trained)
        hold.reached()
        second = start(trained)
        assert second.stdout is not None
        waiting = next(line for line in second.stdout if "is computing the same; waiting for it" in line)
        assert f"train: process {first.pid} is computing" in waiting
        os.kill(first.pid, signal.SIGKILL)
        first.communicate()
    output = said(second)
    assert "going on from checkpoint-" in output
    assert happened(output)["train"] == "ran"
    third = said(start(trained))
    assert "nothing new" in third
    assert len(experiments(trained)) == 1
    assert worktrees(trained) == 1, "a later run has removed what the dead one left"
    until(lambda: not alive(trained))
    assert trained.run("git", "status", "--porcelain").stdout == ""


@pytest.mark.slow
def test_what_is_uncommitted_is_taken_along_and_data_from_outside_goes_into_the_experiment(
    watched: Project, server: str
) -> None:
    module = watched.root / "tasks/problems/common/figures.py"
    module.write_text(module.read_text("utf-8") + "\n# a change nobody has committed\n", encoding="utf-8")
    outside = watched.root.parent / "export.csv"
    outside.write_text(
        "text,label\n"
        + "".join(f"where is parcel {i},order\ngive me my {i} euro,refund\n" for i in range(40))
    )
    before = watched.run("git", "status", "--porcelain").stdout
    output = said(start(watched, "--data.path", str(outside), "--train.max-steps", "2"))
    assert "taking along 1 uncommitted changes: tasks/problems/common/figures.py" in output
    assert watched.run("git", "status", "--porcelain").stdout == before
    (name,) = experiments(watched)
    ref = watched.run("git", "for-each-ref", "--format=%(refname)", f"refs/exps/**/{name}").stdout.strip()
    files = watched.run("git", "ls-tree", "-r", "--name-only", ref).stdout
    assert "data/raw/export.csv.dvc" in files
    assert (
        "a change nobody has committed"
        in watched.run("git", "show", f"{ref}:tasks/problems/common/figures.py").stdout
    )
    assert not (watched.root / "data/raw/export.csv").exists()

    large = watched.root / "large.bin"
    large.touch()
    os.truncate(large, 60_000_000)
    refused = watched.retrain("--isolated", status=1)
    assert "large.bin is not committed and has 60 MB" in refused.stderr
    assert "large.bin is not committed and has 60 MB" in flow_run(server, refused.stderr)["state"]["message"]


@pytest.mark.slow
def test_a_revision_is_reproduced_bit_for_bit_and_otherwise_the_cause_is_named(watched: Project) -> None:
    outside = watched.root.parent / "export.csv"
    outside.write_text(
        "text,label\n"
        + "".join(f"where is parcel {i},order\ngive me my {i} euro,refund\n" for i in range(60))
    )
    watched.retrain(str(outside), command="add")
    watched.run("git", "add", "-A")
    watched.run("git", "commit", "-qm", "data")
    said(start(watched, "--data.path", "data/raw/export.csv"))
    (name,) = experiments(watched)
    same = watched.retrain(name, command="reproduce")
    assert re.search(rf"{name} \(\w+\): bit-identical", same.stdout)
    commit = re.search(rf"{name} \((\w+)\)", same.stdout)
    assert commit is not None
    certificate = json.loads(watched.run("git", "notes", "--ref=retrain", "show", commit[1]).stdout)
    assert certificate["grade"] == "bit-identical"
    assert set(certificate["stages"]) == set(STAGES)
    assert watched.run("git", "status", "--porcelain").stdout == ""

    watched.env["OMP_NUM_THREADS"] = "2"
    threads = watched.retrain(name, command="reproduce", status=None)
    assert threads.returncode in (3, 4, 5)
    assert "device: threads 2 instead of 1" in threads.stdout
    watched.env["OMP_NUM_THREADS"] = "1"

    pins = watched.root / "pins.yaml"
    watched.run("git", "checkout", "-q", commit[1])
    pins.write_text(re.sub(r'polars: ".*"', 'polars: "0.0.1"', pins.read_text("utf-8")), encoding="utf-8")
    watched.run("git", "commit", "-qam", "another pin")
    pinned = watched.retrain("HEAD", command="reproduce", status=3)
    assert "the versions installed are not those pinned at HEAD: polars" in pinned.stderr
    assert "same predictions; environment: polars" in pinned.stdout

    raw = next(
        path
        for path in watched.root.glob(".dvc/cache/files/md5/*/*")
        if path.read_bytes() == outside.read_bytes()
    )
    flip(raw)
    damaged = watched.retrain(name, command="reproduce", status=5)
    assert "in the DVC cache was damaged: it is set aside" in damaged.stderr
    assert "data missing: data/raw/export.csv" in damaged.stdout
    assert (
        "there is no commit, branch, tag or experiment 'nowhere'"
        in watched.retrain("nowhere", command="reproduce", status=2).stderr
    )
