"""`retrain sweep`: trials are runs, here or by a deployment; what is killed goes on; the best is one candidate."""

import json
import os
import random
import re
import signal
from typing import Any

import pytest

from tests.support.colors import rows
from tests.support.project import Project
from tests.support.site import up
from tests.support.wait import PATIENCE, until

pytestmark = pytest.mark.slow

# how often a sweep is killed, and after how many lines of what it says: a trial says some forty
KILLS, LINES = 5, (1, 45)
TRAINS = "running: exec python -m tasks."
# single values, which all trials have
FIXED = ("--data.path", "data/raw/colors.csv", "--num-train-epochs", "3", "--promote.name", "colors")
SEARCH = ("--train.learning-rate", "1e-4:1e-2:log", *FIXED)
# five that learn, and one that does not: it is pruned
CHOICE = "1e-2,8e-3,6e-3,4e-3,2e-3,1e-6"


def experiments(project: Project) -> list[str]:
    """Return the names of the runs that have ended."""
    names = project.dvc("exp", "list", "--name-only").stdout.split()
    return [name for name in names if not name.endswith(".running")]


def outline(found: dict[str, Any]) -> list[tuple[Any, ...]]:
    """Return of each trial its number, the learning rate that it tried, and what came of it."""
    return [
        (trial["number"], trial["params"]["train.learning_rate"], trial["state"], trial["curve"])
        for trial in found["tried"]
    ]


def looks(project: Project) -> int:
    """Return how often the test rows have been looked at."""
    refs = project.run("git", "for-each-ref", "--format=%(refname)", "refs/retrain/looks").stdout.split()
    return sum(int(project.run("git", "rev-list", "--count", ref).stdout) for ref in refs)


def test_a_sweep_that_is_killed_goes_on_with_the_same_trials_and_its_best_is_one_candidate(
    project: Project,
) -> None:
    rows(project, "red", "blue")
    params = project.root / "params.yaml"
    before = params.read_text("utf-8")
    words = ("--train.learning-rate", CHOICE, *FIXED, "--trials", "6", "--name", "shades", "--json")
    drawn = random.Random(0)  # noqa: S311 (no secret)
    for _ in range(KILLS):
        running = project.popen("flows", "sweep", *words)
        assert running.stdout is not None
        for _ in range(drawn.randint(*LINES)):
            running.stdout.readline()
        assert running.poll() is None, "it was over before it could be killed"
        os.killpg(running.pid, signal.SIGKILL)
        running.communicate(timeout=PATIENCE)

    done = project.retrain(*words, command="sweep")
    found = json.loads(done.stdout)
    assert [trial["number"] for trial in found["tried"]] == [*range(6)]
    assert [trial["state"] for trial in found["tried"]] == ["done"] * 5 + ["pruned"]
    assert [len(trial["curve"]) for trial in found["tried"]] == [3] * 5 + [2]
    assert sorted(experiments(project)) == [f"shades-{number}" for number in range(5)]
    assert params.read_text("utf-8") == before, "the checkout stays as it is"
    scores = {trial["number"]: trial["score"] for trial in found["tried"] if trial["state"] == "done"}
    assert found["best"] == max(scores, key=lambda number: (scores[number], -number))
    assert {"history.png", "learning_curves.png", "slices.png"} <= {
        file.name for file in (project.root / ".retrain/sweeps/shades").iterdir()
    }

    # nothing is promoted or looked at by itself; the best takes one look
    assert project.run("git", "tag").stdout == ""
    assert looks(project) == 0
    shown = project.retrain(*words[:-1], command="sweep")
    assert f"{TRAINS}train" not in shown.stderr
    command = re.search(r"`retrain promote (shades-\d)`", shown.stdout)
    assert command is not None, shown.stdout
    assert command[1] == found["tried"][found["best"]]["experiment"]
    decided = project.retrain(command[1], status=None, command="promote")
    assert decided.returncode in (0, 1), decided.stderr
    assert looks(project) == 1

    # the same without a kill, and with nothing in the way
    undisturbed = project.retrain(*(*words[:-2], "other", "--json"), command="sweep")
    assert outline(json.loads(undisturbed.stdout)) == outline(found)
    # what has been trained is not trained again, and what was pruned has left no checkpoint
    assert undisturbed.stderr.count(f"{TRAINS}train") == 1
    assert "going on from checkpoint" not in undisturbed.stderr
    assert not [*project.root.glob(".retrain/checkpoints/*/checkpoint-*")]


@pytest.mark.usefixtures("on_server")
def test_a_trial_that_fails_is_told_and_a_budget_of_time_ends_it(project: Project) -> None:
    rows(project, "red", "blue")
    # no head fits a width that its heads do not divide, which shows only when the model is made
    (project.root / "other").mkdir()
    words = ("--model.name", "base,other", *FIXED, "--trials", "4", "--json")
    found = json.loads(project.retrain(*words, command="sweep").stdout)
    assert [trial["state"] for trial in found["tried"]] == ["done", "failed"], "there are no other two"
    assert "other" in found["tried"][1]["why"]
    assert found["best"] == 0
    refused = project.retrain(
        *words, "--train.max-steps", "1", "--name", found["name"], status=1, command="sweep"
    )
    assert "was begun with something else (train.max_steps was -1, and is 1 now)" in refused.stderr
    (project.root / "another").mkdir()
    none = project.retrain("--model.name", "other,another", *FIXED, status=1, command="sweep")
    assert "0 of 2 trials done, 2 failed; none has a score" in none.stderr
    few = (*SEARCH, "--trials", "50", "--timeout-minutes", "0.05", "--json")
    assert len(json.loads(project.retrain(*few, command="sweep").stdout)["tried"]) == 1


def test_trials_run_by_a_deployment_on_two_workers_and_go_on_when_the_sweep_is_killed(
    project: Project,
) -> None:
    rows(project, "red", "blue")
    project.run("git", "add", "-A")
    project.run("git", "commit", "-qm", "rows")
    # of two at once the sixth may begin before five are done
    choice = CHOICE.replace("1e-6", "1e-5,1e-6")
    words = ("--train.learning-rate", choice, *FIXED, "--trials", "7", "--name", "many", "--json")
    with up(project, "--workers", "2", "--limit", "1") as site:
        running = project.popen("flows", "sweep", *words)
        until(lambda: len(site.runs("manual")) == 2)
        os.killpg(running.pid, signal.SIGKILL)
        running.communicate(timeout=PATIENCE)
        done = project.retrain(*words, command="sweep")
        assert "trials run by retrain/manual, 2 at once" in done.stderr
        found = json.loads(done.stdout)
        states = [trial["state"] for trial in found["tried"]]
        assert states[:5] == ["done"] * 5
        assert states[6] == "pruned"
        runs = site.runs("manual")
        assert sorted(run["name"] for run in runs) == [f"many-{number}" for number in range(7)]
        assert {run["state_name"] for run in runs} == {"Completed", "Pruned"}
        assert len(experiments(project)) == states.count("done")
        told = [line for run in runs for line in site.logs(run["id"])]
        for stage in ("ingest", "split", "tokenize"):
            assert sum(f"{TRAINS}{stage}" in line for line in told) == 1, stage
        # at both workers at once
        first, second = runs[0], runs[1]
        assert second["start_time"] < first["end_time"]

        # by the form, in one run of a worker: the same sweep has nothing left to do
        search = [f"train.learning_rate={choice}"]
        fixed = {
            "data": {"path": "data/raw/colors.csv"},
            "train": {"num_train_epochs": 3},
            "promote": {"name": "colors"},
        }
        run = site.complete("sweep/sweep", search=search, trials=7, name="many", params=fixed)
        assert f"{states.count('done')} of 7 trials done" in site.state(run)["message"]
        artifacts = site.artifacts(run)
        assert "![history](data:image/png;base64," in artifacts["sweep"]["data"]
        assert len(site.runs("manual")) == 7
