"""What sudden death leaves torn is put right at the start of the next run, and said."""

import shutil
import threading
import time
from pathlib import Path

import pytest
import yaml
from dvc.lock import make_lock

from flows.ledger.torn import repair_torn
from flows.ledger.validation import wrong_entry
from tests.support.project import Project
from tests.support.stages import STAGES, happened, outputs

WHOLE = "schema: '2.0'\nstages:\n  ingest:\n    cmd: exec python -m tasks.ingest\n"


def mended(root: Path) -> list[str]:
    (root / ".dvc").mkdir(exist_ok=True)
    said: list[str] = []
    repair_torn(root, said.append)
    return said


@pytest.mark.parametrize("torn", ["", "schema: '2.0'\nstages:\n  ing", "schema: '2.0'\nsta", "\x00" * 40])
def test_a_torn_lock_is_set_aside(tmp_path: Path, torn: str) -> None:
    (tmp_path / "dvc.lock").write_text(torn)
    (said,) = mended(tmp_path)
    assert "dvc.lock was torn" in said
    assert not (tmp_path / "dvc.lock").exists()
    assert (tmp_path / "dvc.lock.torn").read_text() == torn


def test_a_whole_lock_is_left(tmp_path: Path) -> None:
    (tmp_path / "dvc.lock").write_text(WHOLE)
    assert mended(tmp_path) == []
    assert (tmp_path / "dvc.lock").read_text() == WHOLE


def test_a_lock_that_breaks_off_within_a_hash_is_torn_wherever_that_is(tmp_path: Path) -> None:
    whole = WHOLE + (
        f"    deps:\n    - path: data/raw\n      hash: md5\n      md5: {'0123456789abcdef' * 2}.dir\n      size: 12\n"
        f"    outs:\n    - path: data/ingested\n      hash: md5\n      md5: {'fedcba9876543210' * 2}.dir\n      size: 34\n"
    )
    lock = tmp_path / "dvc.lock"
    for length in range(len(whole)):
        lock.write_text(whole[:length])
        if not mended(tmp_path):
            stages = yaml.safe_load(lock.read_text()).get("stages") or {}
            assert not any(map(wrong_entry, stages.values())), whole[:length]


@pytest.mark.parametrize("torn", ["", '{"read": {"/wo', '{"write": {"/a": 3}}'])
def test_dvcs_torn_lock_file_is_removed(tmp_path: Path, torn: str) -> None:
    (tmp_path / ".dvc/tmp").mkdir(parents=True)
    (tmp_path / ".dvc/tmp/rwlock").write_text(torn)
    (said,) = mended(tmp_path)
    assert "rwlock was torn" in said
    assert not (tmp_path / ".dvc/tmp/rwlock").exists()


@pytest.mark.parametrize(
    ("place", "half", "whole"), [("dvc.lock", "schema: '2.0'\nsta", WHOLE), (".dvc/tmp/rwlock", "", "{}")]
)
def test_what_a_dvc_that_is_alive_is_just_writing_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str, half: str, whole: str
) -> None:
    (tmp_path / ".dvc/tmp").mkdir(parents=True)
    (tmp_path / place).write_text(half)
    theirs = make_lock(str(tmp_path / ".dvc/tmp/lock"))
    theirs.lock()

    sleep = time.sleep

    def write(seconds: float) -> None:
        """Be done with it while this thread, and no other of the tests' process, waits for the lock."""
        if threading.current_thread() is not threading.main_thread():
            sleep(seconds)
            return
        monkeypatch.setattr(time, "sleep", sleep)
        (tmp_path / place).write_text(whole)
        theirs.unlock()

    monkeypatch.setattr(time, "sleep", write)
    assert mended(tmp_path) == []
    assert (tmp_path / place).read_text() == whole


@pytest.mark.slow
def test_half_a_lock_that_still_parses_is_never_believed(trained: Project, server: str) -> None:
    trained.env["PREFECT_API_URL"] = server
    whole, good = (trained.root / "dvc.lock").read_text(), outputs(trained)
    for share in (0.5, 0.9):
        (trained.root / "dvc.lock").write_text(whole[: int(len(whole) * share)])
        assert set(happened(trained.retrain().stdout)) == set(STAGES)
        assert outputs(trained) == good
        assert (trained.root / "dvc.lock").read_text() == whole


@pytest.mark.slow
def test_metrics_that_only_git_holds_are_restored_from_there(trained: Project) -> None:
    lock = yaml.safe_load((trained.root / "dvc.lock").read_text("utf-8"))["stages"]
    kept = [
        output["md5"]
        for stage in lock.values()
        for output in stage["outs"]
        if output["path"].startswith("metrics/")
    ]
    assert len(kept) == len(STAGES) + 1
    # as after `dvc gc`, or in a clone that has pulled what `dvc push --run-cache` sent
    for md5 in kept:
        (trained.root / ".dvc/cache/files/md5" / md5[:2] / md5[2:]).unlink()
    for folder in ("models", "plots", "data/ingested", "data/splits", "data/tokens"):
        shutil.rmtree(trained.root / folder)
    assert "7 of 7 stages cached" in trained.retrain().stdout
    assert "up to date" in trained.dvc("status").stdout
