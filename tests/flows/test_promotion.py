"""From run to run with `promote.when: better`: who is better gets the stage, nobody else does, and it goes back in seconds."""

import json
import re
from pathlib import Path

import pytest

from tests.support.colors import LEARNS, rows
from tests.support.project import Project

pytestmark = pytest.mark.slow


def run(project: Project, *options: str) -> str:
    its = ("--data.path", "data/raw/colors.csv", "--promote.when", "better", "--promote.name", "colors")
    return project.retrain("--isolated", *its, "--promote.max-calibration-rise", "1", *options).stdout


def models(project: Project) -> dict[str, list[str]]:
    """Return the stages of each version."""
    told = json.loads(project.retrain("--json", command="models").stdout)
    return {version["version"]: version["stages"] for version in told}


def test_a_better_model_takes_the_stage_a_worse_one_does_not_and_a_rollback_gives_it_back(
    project: Project, tmp_path: Path
) -> None:
    rows(project, "red", "blue")
    first = run(project, *LEARNS)
    assert "As good as the linear baseline" in first or "Not shown to be better" in first, first
    assert "Not promoted." in first
    assert models(project) == {}
    name = re.findall("It is the experiment ([a-z-]+)", first)[0]
    refused = project.retrain(name, status=1, command="promote").stdout
    assert "Not promoted." in refused
    forced = project.retrain(name, "--force", "--reason", "there is no other", command="promote").stdout
    assert "Promoted: colors@v0.0.1 has prod" in forced

    again = run(project, *LEARNS)
    assert "It is the champion's own package" in again

    worse = run(project, "--train.learning-rate", "1e-7", "--num-train-epochs", "1")
    assert "Not promoted." in worse
    assert models(project) == {"v0.0.1": ["prod"]}

    rows(project, "red", "blue", "green")
    newer = run(project, *LEARNS)
    assert "Better than the champion" in newer, newer
    assert models(project) == {"v0.0.1": [], "v0.0.2": ["prod"]}

    back = project.retrain("--name", "colors", "--reason", "too green", command="rollback")
    assert back.stdout.startswith("colors@v0.0.1 has prod again (colors#prod#3); colors@v0.0.2 had it")
    assert models(project) == {"v0.0.1": ["prod"], "v0.0.2": []}
    served = tmp_path / "served"
    project.retrain("colors", "--get", "prod", "--out", str(served), command="models")
    assert json.loads((served / "config.json").read_text("utf-8"))["id2label"] == {
        "0": "cold",
        "1": "warm",
    }
    tags = project.run("git", "tag").stdout.split()
    assert tags == ["colors#prod#1", "colors#prod#2", "colors#prod#3", "colors@v0.0.1", "colors@v0.0.2"]
