"""A run that does not succeed leaves the checkout as it was, however it ended, and nothing that somebody else changed is undone."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from flows.ledger.journal import FILE, RUN_LOCK, Journal, will_write, write_lock
from flows.ledger.rollback import undo
from tasks.shared.locks import alone
from tests.support.project import ROOT, Project
from tests.support.server import flow_run
from tests.support.stages import happened, outputs
from tests.support.wait import until

PARAMS = "train:\r\n  max_steps: -1\r\n"
LOCK = "schema: '2.0'\nstages:\n  ingest:\n    cmd: exec python -m tasks.ingest\n"
DVC = "stages:\n  ingest:\n    cmd: true\n    metrics:\n    - metrics/ingest.json:\n        cache: false\n"


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A folder with what a run may change, and no cached outputs."""
    (tmp_path / "dvc.yaml").write_text(DVC)
    (tmp_path / "params.yaml").write_text(PARAMS, newline="")
    (tmp_path / "dvc.lock").write_text(LOCK)
    (tmp_path / "metrics").mkdir()
    (tmp_path / "metrics/ingest.json").write_text('{"rows": 3}\n')
    return tmp_path


def contents(checkout: Path) -> dict[str, bytes]:
    """Return all files but those that Git ignores: of the run's own folder, and what a kill leaves of a file being replaced."""
    files = (
        path
        for path in checkout.rglob("*")
        if path.is_file() and ".retrain" not in path.parts and path.suffix != ".part"
    )
    return {str(path.relative_to(checkout)): path.read_bytes() for path in files}


def undone(checkout: Path) -> list[str]:
    said: list[str] = []
    undo(checkout, said.append, "a run")
    return said


def work(checkout: Path) -> None:
    """Change what a run changes, as a run does."""
    will_write(checkout, "params.yaml", "train:\n  max_steps: 20\n")
    (checkout / "params.yaml").write_text("train:\n  max_steps: 20\n")
    (checkout / "metrics/ingest.json").unlink()
    write_lock(checkout, LOCK + "  split:\n    cmd: exec python -m tasks.split\n")


def test_what_a_run_has_changed_is_put_back_to_the_byte(checkout: Path) -> None:
    before = contents(checkout)
    Journal.begin(checkout)
    work(checkout)
    assert contents(checkout) != before
    assert undone(checkout) == [
        "a run is undone: params.yaml, dvc.lock, metrics and outputs are as they were before it"
    ]
    assert contents(checkout) == before
    assert not (checkout / FILE).exists()
    assert undone(checkout) == []


def test_what_was_not_there_before_goes(checkout: Path) -> None:
    for name in ("dvc.lock", "metrics/ingest.json"):
        (checkout / name).unlink()
    before = contents(checkout)
    Journal.begin(checkout)
    (checkout / "metrics/ingest.json").write_text("{}")
    work(checkout)
    (checkout / "metrics/ingest.json").write_text("{}")
    assert len(undone(checkout)) == 1
    assert contents(checkout) == before


def test_a_run_that_changed_nothing_is_undone_without_a_word(checkout: Path) -> None:
    Journal.begin(checkout)
    assert undone(checkout) == []


@pytest.mark.parametrize(
    "moment",
    ["before the params", "after the params", "noting the lock", "writing the lock", "after the lock"],
)
def test_sudden_death_at_any_moment_leaves_enough_to_put_all_back(checkout: Path, moment: str) -> None:
    before = contents(checkout)
    script = f"""
import os
from pathlib import Path
from flows.ledger.journal import Journal, will_write, write_lock
here = Path()
Journal.begin(here)
will_write(here, "params.yaml", "a: 1")
if {moment == "before the params"}: os.abort()
Path("params.yaml").write_text("a: 1")
if {moment == "after the params"}: os.abort()
replaced = Path.replace
Path.replace = lambda part, file: os.abort() if {moment == "noting the lock"} or file.name == "dvc.lock" else replaced(part, file)
if {moment == "after the lock"}: Path.replace = replaced
write_lock(here, "schema: '2.0'")
os.abort()
"""
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    died = subprocess.run([sys.executable, "-c", script], cwd=checkout, env=env, check=False)
    assert died.returncode == -signal.SIGABRT
    undone(checkout)
    assert contents(checkout) == before


@pytest.mark.parametrize("name", ["params.yaml", "dvc.lock"])
def test_what_somebody_else_has_changed_since_is_left_with_all_the_rest(checkout: Path, name: str) -> None:
    Journal.begin(checkout)
    work(checkout)
    (checkout / name).write_text((checkout / name).read_text() + "# mine\n")
    now = contents(checkout)
    (said,) = undone(checkout)
    assert said.startswith(f"a run is not undone, because something else has changed {name} since")
    assert contents(checkout) == now
    assert undone(checkout) == []


def test_a_lock_that_dvc_has_written_in_between_is_left(checkout: Path) -> None:
    Journal.begin(checkout)
    (checkout / "dvc.lock").write_text(LOCK + "# by dvc repro\n")
    work(checkout)
    assert "something else has changed dvc.lock" in undone(checkout)[0]
    assert "split" in (checkout / "dvc.lock").read_text()


def test_a_lock_that_is_newer_than_a_run_that_died_is_left_whenever_it_died(checkout: Path) -> None:
    Journal.begin(checkout)
    work(checkout)
    (checkout / "dvc.lock").write_text(
        LOCK + "# by dvc repro, after the run was killed while it wrote the lock\n"
    )
    now = contents(checkout)
    assert "something else has changed dvc.lock" in undone(checkout)[0]
    assert contents(checkout) == now


# the whole road


def clean(project: Project) -> bool:
    return project.run("git", "status", "--porcelain").stdout == ""


@pytest.mark.slow
def test_a_run_that_fails_and_one_for_once_leave_all_as_it_was(trained: Project, server: str) -> None:
    trained.env["PREFECT_API_URL"] = server
    good = outputs(trained)
    failed = trained.retrain("--ingest.max-chars", "10", status=1)
    assert "params.yaml: ingest.max_chars 10000 -> 10" in failed.stderr
    assert "this run is undone" in failed.stderr
    assert clean(trained)
    assert outputs(trained) == good
    assert "up to date" in trained.dvc("status").stdout
    for words in (
        ["--train.optim", "adamm"],
        ["--train.metric-for-best-model", "acuracy"],
        ["--model", "./nowhere"],
        ["--data.columns.body", "text"],
    ):
        assert "running:" not in trained.retrain(*words, status=2).stderr
        assert clean(trained)

    once = trained.retrain("--once", "--package.name", "other")
    assert happened(once.stdout)["package"] == "ran"
    assert "params.yaml: package.name ticket-intents -> other" in once.stderr
    assert "without --once the same command restores it" in once.stdout
    assert flow_run(server, once.stderr)["parameters"]["params"] == {"package": {"name": "other"}}, (
        "what was given"
    )
    assert clean(trained)
    assert outputs(trained) == good
    assert "up to date" in trained.dvc("status").stdout

    kept = trained.retrain("--package.name", "other")
    assert happened(kept.stdout)["package"] == "cached (restored)"
    assert "name: other" in (trained.root / "params.yaml").read_text("utf-8")
    assert outputs(trained) != good


@pytest.mark.slow
def test_an_isolated_run_starts_from_what_stood_before_a_run_that_is_under_way(
    trained: Project, server: str
) -> None:
    trained.env["PREFECT_API_URL"] = server
    with alone(trained.root / RUN_LOCK):
        Journal.begin(trained.root)
        text = (trained.root / "params.yaml").read_text("utf-8")
        (trained.root / "params.yaml").write_text(
            text.replace("num_train_epochs: 2.0", "num_train_epochs: 300.0"), encoding="utf-8"
        )
        done = trained.retrain("--isolated")
    assert (
        "another run is under way in the checkout: this one starts from what stood there before it"
        in done.stderr
    )
    assert set(happened(done.stdout).values()) == {"cached (unchanged)"}


@pytest.mark.slow
def test_a_run_that_is_killed_is_undone_by_the_next_command_which_says_so(
    trained: Project, server: str
) -> None:
    trained.env["PREFECT_API_URL"] = server
    good = outputs(trained)
    running = trained.popen("flows", "run", "--train.learning-rate", "0.003", "--train.epochs", "200")
    until(lambda: not (trained.root / "models/checkpoint").exists())
    assert "learning_rate: 0.003" in (trained.root / "params.yaml").read_text("utf-8")
    os.killpg(running.pid, signal.SIGKILL)
    running.communicate()
    planned = trained.retrain(command="plan")
    assert "a run that died here is undone" in planned.stderr
    assert planned.stdout.endswith("nothing to do\n")
    assert clean(trained)
    assert outputs(trained) == good
