"""The commands that the README shows beside `retrain run`: metrics, plots and experiments by DVC."""

import json
import re

from tests.conftest import ROOT, Project


def test_dvc_shows_metrics_and_plots_and_runs_experiments(trained: Project) -> None:
    metrics = json.loads(trained.dvc("metrics", "show", "--json").stdout)[""]["data"]
    assert metrics["metrics/evaluate.json"]["data"]["rows"] == 214
    assert {"majority", "tfidf_linear"} <= set(metrics["metrics/evaluate.json"]["data"]["baselines"])
    page = trained.dvc("plots", "show", "-o", "shown").stdout
    assert "index.html" in page
    shown = (trained.root / "shown/index.html").read_text("utf-8")
    assert all(title in shown for title in ("Loss (nats per example)", "Validation scores", "Confusion on test", "confusion_matrix"))
    experiment = trained.dvc("exp", "run", "-S", "train.learning_rate=1e-3")
    assert "Running stage 'train'" in experiment.stdout
    assert "Running stage 'tokenize'" not in experiment.stdout
    assert "learning_rate" in trained.dvc("params", "diff").stdout
    assert "accuracy" in trained.dvc("metrics", "diff").stdout


def test_every_link_in_the_documents_leads_somewhere() -> None:
    for page in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")):
        for target in re.findall(r"\]\((?!http)([^)#]+)", page.read_text("utf-8")):
            assert (page.parent / target).exists(), f"{page.name}: {target}"
