"""The commands that the README shows beside `retrain run`: metrics, plots and experiments by DVC."""

import json
import re
import shlex

import pytest

from flows.report.run_report import TEMPLATE
from tasks.shared.files import read_json
from tests.support.project import ROOT, Project

WIDTH = 160


@pytest.mark.slow
def test_dvc_shows_metrics_and_plots_and_runs_experiments(trained: Project) -> None:
    metrics = json.loads(trained.dvc("metrics", "show", "--json").stdout)[""]["data"]
    measured = read_json(trained.root / "metrics/evaluate.json")
    headline = {name: value for name, value in measured.items() if not isinstance(value, dict)}
    assert {name: table["data"] for name, table in metrics.items()} == {"metrics/scores.json": headline}
    assert {"rows", "accuracy", "macro_f1"} <= headline.keys()
    assert {"majority", "tfidf_linear"} <= measured["baselines"].keys(), "the rest stands beside them"
    assert widest(trained.dvc("metrics", "show").stdout) <= WIDTH
    page = trained.dvc("plots", "show", "-o", "shown").stdout
    assert "index.html" in page
    shown = (trained.root / "shown/index.html").read_text("utf-8")
    titles = (
        "train_loss.csv",
        "validation_loss.csv",
        "validation_macro_f1.csv",
        "confusion_matrix",
        "reliability",
    )
    assert all(title in shown for title in titles)
    experiment = trained.dvc("exp", "run", "-S", "train.learning_rate=1e-3")
    assert "Running stage 'train'" in experiment.stdout
    assert "Running stage 'tokenize'" not in experiment.stdout
    assert "learning_rate" in trained.dvc("params", "diff").stdout
    assert "accuracy" in trained.dvc("metrics", "diff").stdout
    assert widest(trained.dvc("metrics", "diff").stdout) <= WIDTH
    compared = trained.dvc("plots", "diff")
    assert "WARNING" not in compared.stdout + compared.stderr, "what stages measured draws nothing"


@pytest.mark.slow
def test_experiments_are_listed_in_160_columns_after_a_commit_too(trained: Project) -> None:
    page = (ROOT / "docs/history.md").read_text("utf-8")
    every, newest = re.findall(r"^dvc exp show.*?(?=  +#)", page, re.MULTILINE)
    assert f"`{every}`" in TEMPLATE.read_text("utf-8"), "a run's report names the same command"
    for name, rate in (("slow", "1e-3"), ("fast", "2e-3")):
        trained.dvc("exp", "run", "-n", name, "-S", f"train.learning_rate={rate}")
    shown = trained.dvc(*shlex.split(newest)[1:], "--md").stdout
    assert widest(shown) <= WIDTH
    assert all(name in shown for name in ("slow", "fast", "macro_f1", "train.learning_rate"))
    trained.run("git", "commit", "--allow-empty", "-qm", "later")
    assert "slow" not in trained.dvc(*shlex.split(newest)[1:], "--md").stdout
    shown = trained.dvc(*shlex.split(every)[1:], "--md").stdout
    assert widest(shown) <= WIDTH
    assert all(name in shown for name in ("slow", "fast", "macro_f1"))


def widest(text: str) -> int:
    """Return the length of the longest line."""
    return max(map(len, text.splitlines()))


def test_every_link_in_the_documents_leads_somewhere() -> None:
    for page in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")):
        for target in re.findall(r"\]\((?!http)([^)#]+)", page.read_text("utf-8")):
            assert (page.parent / target).exists(), f"{page.name}: {target}"
