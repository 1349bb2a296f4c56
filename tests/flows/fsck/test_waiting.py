"""`retrain check --repair` beside a run in the same checkout: it judges what that has left, not what it found before."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from flows.ledger.journal import RUN_LOCK
from tasks.shared.locks import alone
from tests.support.edits import flip
from tests.support.project import ROOT, Once, environment
from tests.support.two_stages import STAGES, Small, start
from tests.support.wait import PATIENCE

REPAIR = """
from pathlib import Path
from flows.fsck.check import check

def say(line):
    print(line, flush=True)

check(Path.cwd(), None, repair=True, show=say, say=say)
"""


@pytest.fixture
def small(tmp_path: Path, once: Once, monkeypatch: pytest.MonkeyPatch) -> Small:
    """A repository of two stages that are computed."""
    monkeypatch.setenv("DVC_SITE_CACHE_DIR", str(tmp_path / "site"))
    shutil.copytree(once("small", start), tmp_path / "small")
    return Small(tmp_path / "small")


@pytest.mark.slow
def test_what_a_run_records_while_a_repair_waits_for_it_stays(small: Small) -> None:
    with alone(small.root / RUN_LOCK):
        repair = subprocess.Popen(
            [sys.executable, "-c", REPAIR],
            cwd=small.root,
            env=environment(small.root) | {"PYTHONPATH": str(ROOT)},
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        assert repair.stdout is not None
        try:
            assert "waiting for another run in this checkout" in repair.stdout.readline()
            flip(small.object_of("tokens/train.arrow"))
            (small.root / "dvc.yaml").write_text(STAGES.replace("rev raw", "tac raw"), "utf-8")
            small.run()
            recorded = (small.root / "dvc.lock").read_bytes()
        except BaseException:
            repair.kill()
            raise
    said, _ = repair.communicate(timeout=PATIENCE)
    assert said.endswith(": all whole\n")
    assert (small.root / "dvc.lock").read_bytes() == recorded
