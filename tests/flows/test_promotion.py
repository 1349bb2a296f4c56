"""From run to run with `promote.when: better`: who is better gets the stage, nobody else does, and it goes back in seconds."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.support.colors import LEARNS, rows
from tests.support.project import Project

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("on_server")]


def run(project: Project, *options: str, when: str = "better") -> str:
    its = ("--data.path", "data/raw/colors.csv", "--promote.when", when, "--promote.name", "colors")
    done = project.retrain("--isolated", *its, *options)
    return done.stderr + done.stdout


def named(told: str) -> str:
    """Return the name of the experiment that a run says it is."""
    return re.findall("It is the experiment ([a-z-]+)", told)[0]


def judged(project: Project, name: str) -> dict[str, Any]:
    """Return what an experiment's metrics/judge.json holds."""
    pattern = f"refs/exps/*/*/{name}"
    commit = project.run("git", "for-each-ref", "--format=%(objectname)", pattern).stdout.strip()
    found: dict[str, Any] = json.loads(project.run("git", "show", f"{commit}:metrics/judge.json").stdout)
    return found


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
    name = named(first)
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
    newer = run(project, *LEARNS, "--promote.max-latency-ratio", "100")
    assert "Better than the champion" in newer, newer
    assert models(project) == {"v0.0.1": [], "v0.0.2": ["prod"]}
    # a third of the rows have a label that the champion does not know
    its = judged(project, named(newer))
    assert its["other"]["accuracy"] < 0.75 < its["candidate"]["accuracy"]
    assert its["unknown_share"] == {
        "candidate": pytest.approx(0, abs=0.1),
        "other": pytest.approx(0, abs=0.1),
    }
    (told,) = json.loads(project.retrain("--json", command="models").stdout)[1]["assignments"]
    assert told["evidence"]["milliseconds"].keys() == {"candidate", "other", "rows"}
    assert set(told["evidence"]["overconfidence"]) == {"candidate", "other"}

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


def test_of_twenty_test_rows_little_is_shown_at_a_margin_of_nothing_and_a_champion_is_as_good_as_itself(
    project: Project,
) -> None:
    rows(project, "red", "blue", each=50)
    first = run(project, *LEARNS, "--promote.margin", "0")
    rows_ = judged(project, named(first))["rows"]
    assert 10 <= rows_ <= 30
    assert f"on {rows_} rows, margin 0.0000, look 1" in first, first
    assert "would have been seen in 80 % of cases" in first or "no difference could have been seen" in first
    assert "Not promoted." in first
    project.retrain(named(first), "--force", "--reason", "the first", command="promote")
    same = project.retrain(named(first), command="promote").stdout
    assert same == "It is the champion's own package: there is nothing to promote.\n"
    forced = project.retrain(named(first), "--force", "--reason", "again", command="promote").stdout
    assert forced == same


def test_a_champion_whose_package_is_lost_stops_no_run_and_is_replaced_by_force_alone(
    project: Project,
) -> None:
    rows(project, "red", "blue")
    for seed in ("6", "7"):
        told = run(project, *LEARNS, "--train.seed", seed, when="never")
        project.retrain(named(told), "--force", "--reason", "to have one", command="promote")
    lose(project)

    third = run(project, *LEARNS, "--train.seed", "8")
    lost = "promote.champion: the DVC cache does not hold models/package"
    assert f"warning: {lost}" in third
    assert f"Not promoted: {lost}" in third
    assert judged(project, named(third))["champion"] is None
    refused = project.retrain(named(third), command="promote", status=2)
    assert refused.stderr.splitlines()[-1].startswith(f"error: {lost}")
    back = project.retrain("--name", "colors", command="rollback", status=2)
    assert back.stderr.splitlines()[-1].startswith(
        "error: nothing is rolled back: the DVC cache does not hold"
    )
    assert models(project) == {"v0.0.1": [], "v0.0.2": ["prod"]}

    why = ("--force", "--reason", "the champion is lost")
    forced = project.retrain(named(third), *why, command="promote").stdout
    assert f"Not compared with the champion: {lost}" in forced
    assert "Promoted: colors@v0.0.3 has prod" in forced


def lose(project: Project) -> None:
    """Have no package of any model that was promoted be left, in the cache or where it was kept."""
    for version in json.loads(project.retrain("--json", command="models").stdout):
        lock = project.run("git", "show", f"{version['commit']}:dvc.lock").stdout
        digest = re.findall(r"- path: models/package\n      hash: md5\n      md5: (\w+)\.dir", lock)[0]
        (project.root / f".dvc/cache/files/md5/{digest[:2]}/{digest[2:]}.dir").unlink(missing_ok=True)
    shutil.rmtree(project.root / ".retrain/bases", ignore_errors=True)
