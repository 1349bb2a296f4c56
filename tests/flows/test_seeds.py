"""`retrain seeds`: it trains with other seeds alone, goes on where it was killed, and writes the deviation down."""

import json
import os
import signal

import pytest

from tests.support.project import Project
from tests.support.wait import PATIENCE, until


def experiments(project: Project) -> list[str]:
    """Return the references of the runs that have ended."""
    kept = project.run("git", "for-each-ref", "--format=%(refname)", "refs/exps/*/*/*").stdout.split()
    return [ref for ref in kept if not ref.endswith(".running")]


def test_of_fewer_than_five_trainings_nothing_is_told(project: Project) -> None:
    said = project.retrain("--count", "4", command="seeds", status=2).stderr
    assert said == "error: --count 4: a deviation takes 5 to 1000 trainings; give --count 5\n"


@pytest.mark.slow
@pytest.mark.usefixtures("on_server")
def test_seeds_are_measured_once_whatever_is_killed_and_no_stage_becomes_stale(project: Project) -> None:
    params = project.root / "params.yaml"
    text = params.read_text("utf-8").replace("max_steps: -1", "max_steps: 12")
    params.write_text(text.replace("  when: never", "  when: better"), encoding="utf-8")
    running = project.popen("flows", "seeds", "--json")
    until(lambda: len(experiments(project)) >= 2)
    os.killpg(running.pid, signal.SIGKILL)
    running.communicate(timeout=PATIENCE)

    done = project.retrain("--json", "--dry-run", command="seeds")
    assert done.stderr.count("running: exec python -m tasks.train") <= 3
    found = json.loads(done.stdout)
    assert list(found["scores"]) == ["42", "43", "44", "45", "46"]
    assert found["metric"] == "macro_f1"
    assert len(experiments(project)) == 5
    assert "seed_deviation:\n" in params.read_text("utf-8"), "a dry run leaves it as it was"
    assert project.run("git", "tag").stdout == "", "none of them is promoted by itself"
    assert project.run("git", "for-each-ref", "refs/retrain/looks").stdout == "", "and none takes a look"

    project.retrain()
    again = project.retrain(command="seeds")
    assert "running: exec" not in again.stderr
    assert f"standard deviation of {found['deviation']:.4g} over 5 seeds" in again.stdout
    written = params.read_text("utf-8")
    assert f"seed_deviation: {found['deviation']}" in written
    assert "# when a model takes the place of the one in production" in written
    plan = json.loads(project.retrain("--json", command="plan").stdout)
    assert {stage["fate"] for stage in plan["stages"]} == {"unchanged"}, plan
