"""The whole road on a clone of the repository, by both drivers, with real Git, DVC, Prefect and processes."""

import hashlib
import os
import re
import shutil
import signal
from pathlib import Path

import pytest

from tasks.shared.files import digests
from tests.support.hold import STEPS, held
from tests.support.project import Once, Project, copy_of, tiny
from tests.support.server import artifacts, flow_run
from tests.support.stages import STAGES, happened, outputs, remove_outputs


def sha(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.slow
def test_one_cache_serves_both_drivers_and_equal_inputs_give_equal_bits(
    project: Project, computed: Project, server: str, tmp_path: Path
) -> None:
    project.env["PREFECT_API_URL"] = server
    # the flow computes; then neither driver has anything to do
    first = project.retrain()
    assert happened(first.stdout) == dict.fromkeys(STAGES, "ran")
    assert "up to date" in project.dvc("status").stdout
    repro = project.dvc("repro").stdout
    assert "Running stage" not in repro
    assert repro.count("didn't change") == 7
    again = project.retrain()
    assert happened(again.stdout) == dict.fromkeys(STAGES, "cached (unchanged)")
    assert "running:" not in again.stdout + again.stderr, "no stage process is started"
    reference = outputs(project)

    # what is gone is restored, by either driver
    remove_outputs(project)
    assert "Running stage" not in project.dvc("repro").stdout
    assert outputs(project) == reference
    remove_outputs(project)
    assert happened(project.retrain().stdout) == dict.fromkeys(STAGES, "cached (restored)")
    assert outputs(project) == reference

    # a param changed and changed back costs nothing the second time, across drivers
    project.run("git", "add", "-A")
    project.run("git", "commit", "-qm", "trained")
    changed = project.retrain("--train.learning_rate", "1e-3")
    assert happened(changed.stdout)["tokenize"] == "cached (unchanged)"
    assert happened(changed.stdout)["train"] == "ran"
    assert outputs(project) != reference
    trained = project.run("git", "rev-parse", "--short=10", "HEAD").stdout.strip()
    report = artifacts(server, flow_run(server, changed.stderr))["report"]["data"]
    assert f"No row has changed since `{trained}`" in report
    assert "tested on the same rows" in report
    assert trained in changed.stdout, "the terminal shows the last run's scores too"
    project.run("git", "checkout", "params.yaml")
    assert "Running stage" not in project.dvc("repro").stdout
    assert outputs(project) == reference

    # where DVC alone has computed everything from nothing, it made the same bytes, and the flow finds them
    assert outputs(computed) == reference
    other = copy_of(computed, tmp_path / "elsewhere")
    other.env["PREFECT_API_URL"] = server
    assert happened(other.retrain().stdout) == dict.fromkeys(STAGES, "cached (unchanged)")
    other.run("bash", "-c", "cd models/package && sha256sum --check --quiet MANIFEST.sha256")
    assert sha(other.root / "models/package/model.safetensors") == sha(
        project.root / "models/package/model.safetensors"
    )


@pytest.mark.as_users_do
@pytest.mark.slow
def test_stages_that_start_as_users_start_them_make_the_bytes_of_those_that_are_forked(
    project: Project, computed: Project
) -> None:
    project.dvc("repro")
    assert outputs(project) == outputs(computed)


COMPUTE = ("numpy", "polars", "pyarrow", "torch", "transformers")
RUN = f"""import sys
from flows.cli.app import main
try:
    main(["run"])
except SystemExit as end:
    assert end.code == 0
    print("imported", *(name for name in {COMPUTE} if name in sys.modules))
"""


def imported(project: Project) -> list[str]:
    """Return which of the libraries that compute a run imports in its own process."""
    *_, last = project.run(project.python, "-c", RUN).stdout.splitlines()
    return last.split()[1:]


def test_a_run_in_which_nothing_has_changed_imports_nothing_that_computes(
    trained: Project, server: str
) -> None:
    assert happened(trained.retrain().stdout) == dict.fromkeys(STAGES, "cached (unchanged)")
    assert imported(trained) == [], "without a server"
    trained.env["PREFECT_API_URL"] = server
    assert imported(trained) == [], "nor beside one"


def test_only_what_changed_runs(trained: Project, server: str) -> None:
    trained.env["PREFECT_API_URL"] = server
    reference = outputs(trained)

    os.utime(trained.root / "data/raw/tickets.csv")
    assert "Running stage" not in trained.dvc("repro").stdout, "a touched input is not a changed input"

    helper = trained.root / "tasks/evaluate/figures.py"
    helper.write_text(helper.read_text("utf-8") + "\n# a changed helper\n", encoding="utf-8")
    ran = re.findall(r"Running stage '(\w+)'", trained.dvc("repro").stdout)
    assert ran == ["evaluate", "package", "judge"], "a helper module re-runs the stages that import it"
    assert "up to date" in trained.dvc("status").stdout

    helper.write_text(helper.read_text("utf-8") + "\n# changed again\n", encoding="utf-8")
    flow = happened(trained.retrain().stdout)
    assert [name for name, what in flow.items() if what == "ran"] == ["evaluate", "package", "judge"], (
        "and so it does under Prefect"
    )

    csv = trained.root / "data/raw/tickets.csv"
    header, first, *lines = csv.read_text("utf-8").splitlines()
    assert first.endswith("Swap for the Lyra?,return_exchange,2025-11-02T14:35:11Z")
    new = [
        f"is the {thing} washable,product_question,2026-11-01T10:00:00Z"
        for thing in ("moss rug", "<b>rug</b> | that one")
    ]
    csv.write_text(
        "\n".join([header, first.replace("return_exchange", "product_question"), *lines[:-3], *new, ""]),
        encoding="utf-8",
    )
    grown = trained.retrain()
    assert happened(grown.stdout)["train"] == "ran"
    assert outputs(trained) != reference
    report = artifacts(server, flow_run(server, grown.stderr))["report"]["data"]
    assert "**Rows since the run before: 2 added, 3 removed, 1 relabelled.**" in report, (
        "exactly what was done to them"
    )
    assert "| relabelled | return\\_exchange → product\\_question | OK here" in report
    assert "different rows: " in report


def longer(project: Project) -> Project:
    """Have the next training keep several checkpoints; remove what the last one made, as DVC does."""
    params = project.root / "params.yaml"
    text = params.read_text("utf-8").replace("num_train_epochs: 2.0", "num_train_epochs: 4.0")
    params.write_text(text, encoding="utf-8")
    for folder in ("models", "plots"):
        shutil.rmtree(project.root / folder)
    return project


def learned(project: Project) -> dict[str, str]:
    return digests(project.root / "models/checkpoint") | digests(project.root / "plots/train")


@pytest.fixture(scope="session")
def undisturbed(once: Once, computed: Project) -> dict[str, str]:
    """The digests of what the longer training makes when nobody interrupts it."""
    folder = once(
        "undisturbed", lambda folder: longer(copy_of(computed, folder)).run("python", "-m", "tasks.train")
    )
    return learned(tiny(folder / "project"))


MOMENTS = {
    "first steps": (3, "step"),
    "between checkpoints": (2 * STEPS + 5, "step"),
    "while saving": (2 * STEPS, "save"),
    "asked to end": (2 * STEPS + 5, "step"),
}
QUICK = "between checkpoints"


@pytest.mark.parametrize(
    "moment", [pytest.param(name, marks=() if name == QUICK else pytest.mark.slow) for name in MOMENTS]
)
def test_a_killed_training_goes_on_to_the_same_bytes(
    trained: Project, undisturbed: dict[str, str], moment: str
) -> None:
    resume = trained.root / ".retrain/checkpoints"
    with held(trained, *MOMENTS[moment]) as hold:
        training = longer(trained).popen("tasks.train")
        process = hold.reached()
        if moment == "asked to end":
            training.terminate()
            said, _ = training.communicate()
            assert "asked to end: checkpoint kept at step" in said
        else:
            os.killpg(training.pid, signal.SIGKILL)
            training.wait()
            process.wait()
    if moment == "while saving":
        # as if the kill had come while this file was written
        (part,) = resume.glob(f"*/checkpoint-{2 * STEPS}/optimizer.pt")
        os.truncate(part, part.stat().st_size // 2)
    resumed = trained.run("python", "-m", "tasks.train")
    if moment == "first steps":
        assert "going on from" not in resumed.stdout
    else:
        at = {"between checkpoints": 2 * STEPS, "while saving": STEPS, "asked to end": 2 * STEPS + 6}[moment]
        assert f"going on from checkpoint-{at} " in resumed.stdout
    assert not any(resume.glob("*/")), "what was kept for resuming is gone"
    assert learned(trained) == undisturbed


@pytest.mark.slow
def test_checkpoints_by_the_clock_change_no_bit_and_are_gone_on_from(
    trained: Project, undisturbed: dict[str, str]
) -> None:
    trained.env["RETRAIN_CHECKPOINT_SECONDS"] = "0"
    with held(trained, STEPS + 5, "step") as hold:
        training = longer(trained).popen("tasks.train")
        process = hold.reached()
        os.killpg(training.pid, signal.SIGKILL)
        training.wait()
        process.wait()
    resumed = trained.run("python", "-m", "tasks.train")
    assert f"going on from checkpoint-{STEPS + 5} " in resumed.stdout
    assert learned(trained) == undisturbed
