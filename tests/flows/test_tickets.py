"""The embedded tickets from their first model to production and back: proven, refused, replaced by night, rolled back offline.

With the real base model, a real server and worker; trainings take about two minutes on two cores.
"""

import csv
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.support.project import ROOT, Project, clone
from tests.support.site import up

pytestmark = pytest.mark.slow
# where namespaces are not permitted, everything but loopback leads to a port that nobody listens on
OFFLINE = ["unshare", "--user", "--map-root-user", "--net"]
DEAD = dict.fromkeys(("http_proxy", "https_proxy", "all_proxy"), "http://127.0.0.1:9")
SERVE = """import sys
from transformers import pipeline
print(pipeline("text-classification", sys.argv[1])("the courier says delivered but my porch is empty")[0]["label"])
"""


def tickets(project: Project, *, every: int) -> None:
    """Write a fifth of the tickets as test rows, and of the others each one in `every` to learn from."""
    with (ROOT / "data/raw/tickets.csv").open(encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(file)
    test = rows[::5]
    others = [row for number, row in enumerate(rows) if number % 5]
    folder = project.root / "data/raw/tickets"
    folder.mkdir(exist_ok=True)
    for name, its in (("train.csv", others[::every]), ("test.csv", test)):
        with (folder / name).open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([header, *its])


def configure(project: Project) -> None:
    """Have params.yaml name them, and promote what is better, as a user would."""
    file = project.root / "params.yaml"
    text = file.read_text("utf-8")
    for old, new in (
        ("  path: data/raw/tickets.csv", "  path: data/raw/tickets"),
        ("  train_file:", "  train_file: train.csv"),
        ("  test_file:", "  test_file: test.csv"),
        ("  method: stable", "  method: predefined"),
        ("  when: never", "  when: better"),
        # a model that learns from few rows is not sure of itself yet
        ("  max_calibration_rise: 0.05", "  max_calibration_rise: 0.3"),
    ):
        assert old in text
        text = text.replace(old, new, 1)
    file.write_text(text, encoding="utf-8")


def models(project: Project) -> dict[str, dict[str, Any]]:
    told = json.loads(project.retrain("--json", command="models").stdout)
    return {version["version"]: version for version in told}


def offline(project: Project, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a command with the network off."""
    permitted = subprocess.run([*OFFLINE, "true"], capture_output=True, check=False).returncode == 0
    if not permitted:
        project.env |= DEAD
    return project.run(*(OFFLINE if permitted else ()), *words)


def test_the_tickets_from_a_tenth_of_them_to_production_by_night_and_back(
    tmp_path: Path, prefect_home: Path
) -> None:
    (tmp_path / "project").mkdir()
    project = clone(tmp_path / "project")
    shutil.copytree(prefect_home, project.root / ".retrain/prefect")
    tickets(project, every=8)
    configure(project)
    project.run("git", "add", "-A")
    project.run("git", "commit", "-qm", "a tenth of the tickets")

    first = project.retrain("--isolated", "--train.epochs", "15").stdout
    assert "Better than the tfidf_linear baseline" in first, first
    assert "Promoted: ticket-intents@v0.0.1 has prod." in first
    worse = project.retrain("--isolated", "--train.epochs", "1", "--train.learning-rate", "1e-6").stdout
    assert "Not promoted." in worse, worse
    assert [version["stages"] for version in models(project).values()] == [["prod"]]

    tickets(project, every=1)
    with up(project) as site:
        data = json.loads(project.retrain("--json", command="status").stdout)["stages"][0]["champion"]["data"]
        assert data["is_newer"], data
        night = site.complete("retrain/nightly", update_data=True)
        message = site.state(night)["message"]
        assert message.startswith("Better than the champion: macro_f1 +"), message
        assert "Promoted: ticket-intents@v0.0.2 has prod." in message
        report = site.artifacts(night)["report"]["data"].replace("\\", "")
        assert "Promoted: ticket-intents@v0.0.2 has prod." in report
    found = models(project)
    assert {name: its["stages"] for name, its in found.items()} == {"v0.0.1": [], "v0.0.2": ["prod"]}
    assert found["v0.0.2"]["by"] == "promote.when: better"

    back = offline(project, project.python, "-m", "flows", "rollback", "--reason", "to show that it can be")
    assert back.stdout.startswith("ticket-intents@v0.0.1 has prod again")
    served = tmp_path / "served"
    offline(project, project.python, "-m", "flows", "models", "--get", "prod", "--out", str(served))
    label = offline(project, project.python, "-c", SERVE, str(served)).stdout.strip().splitlines()[-1]
    assert label in json.loads((served / "config.json").read_text("utf-8"))["label2id"]
    tags = project.run("git", "tag").stdout.split()
    assert tags == [
        *(f"ticket-intents#prod#{number}" for number in (1, 2, 3)),
        *(f"ticket-intents@v0.0.{number}" for number in (1, 2)),
    ]
