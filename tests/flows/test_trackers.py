"""Trackers under both drivers: in no key, refused before the first stage, told by real runs."""

import pytest

from tasks.shared import tracking
from tasks.shared.params_file import load
from tests.support.edits import rewrite
from tests.support.project import Project
from tests.support.stages import happened, outputs
from tests.support.trackers import READ, installed


def tell(project: Project, *tools: str) -> None:
    params = project.root / "params.yaml"
    params.write_text(
        params.read_text("utf-8").replace("report_to: []", f"report_to: [{', '.join(tools)}]"),
        encoding="utf-8",
    )


@pytest.mark.slow
def test_changing_who_is_told_leaves_every_stage_up_to_date_under_both_drivers(trained: Project) -> None:
    trained.env[tracking.SWITCH] = "off"
    before = (trained.root / "dvc.lock").read_bytes()
    options = [
        "--trackers.report-to",
        "tensorboard",
        "--trackers.report-to",
        "wandb",
        "--trackers.project",
        "Tickets",
    ]
    assert trained.retrain(*options, command="plan").stdout.count("unchanged") >= 6
    done = trained.retrain(*options)
    assert set(happened(done.stdout).values()) == {"cached (unchanged)"}
    trackers = load(trained.root / "params.yaml").trackers
    assert (trackers.report_to, trackers.project) == (["tensorboard", "wandb"], "Tickets")
    assert "up to date" in trained.dvc("status").stdout
    assert trained.dvc("repro").stdout.count("didn't change") == 7
    assert (trained.root / "dvc.lock").read_bytes() == before


@pytest.mark.slow
def test_a_tool_that_is_not_installed_is_refused_before_the_first_stage_by_both_drivers(
    trained: Project,
) -> None:
    rewrite(trained.root / "tasks/shared/tracking.py", '"mlflow-skinny"', '"no-such-distribution"')
    trained.run("git", "commit", "-qam", "a client of MLflow that nobody has")
    done = trained.retrain("--trackers.report-to", "mlflow", "--split.seed", "3", status=2)
    assert done.stderr.splitlines()[-1].startswith(
        "error: trackers.report_to: mlflow: not installed; `pip install "
    )
    assert trained.run("git", "status", "--porcelain").stdout == ""
    tell(trained, "mlflow")
    params = trained.root / "params.yaml"
    params.write_text(
        params.read_text("utf-8").replace("max_rejected: 0.05", "max_rejected: 0.06"), encoding="utf-8"
    )
    done = trained.dvc("repro", status=None)
    assert done.returncode != 0
    assert "ingest: trackers.report_to: mlflow: not installed" in done.stdout + done.stderr
    assert "Running stage 'split'" not in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("tool", installed("tensorboard"))
def test_dvc_repro_and_an_isolated_run_tell_the_checkouts_tracker_and_make_the_same_bits(
    tool: str, trained: Project
) -> None:
    before = outputs(trained)
    tell(trained, tool)
    trained.dvc("repro", "--force", "--single-item", "train")
    trained.dvc("repro", "--force", "--single-item", "evaluate")
    assert outputs(trained) == before
    assert "up to date" in trained.dvc("status").stdout
    place = trained.root / tracking.FOLDER
    (held,) = READ[tool](place)
    assert {"train/loss", "eval/macro_f1", "test/macro_f1", "test/macro_f1_low"} <= set(held.scores)
    assert held.texts["git_commit"] == trained.run("git", "rev-parse", "HEAD").stdout.strip()
    done = trained.retrain("--isolated", "--train.seed", "7")
    assert happened(done.stdout)["train"] == "ran"
    (name,) = {held.name for held in READ[tool](place)} - {held.name}
    assert name in done.stdout + done.stderr, "it is called like the flow's run"
    assert "params.yaml" in trained.run("git", "status", "--porcelain").stdout
    assert "trackers" not in trained.run("git", "status", "--porcelain").stdout
