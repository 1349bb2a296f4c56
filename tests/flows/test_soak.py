"""Kills at random moments, a few of the fifty that `make soak` sends: nothing is lost or torn."""

import subprocess
import sys

import pytest

from tests.support.project import ROOT

KILLS = 3


@pytest.mark.slow
def test_kills_at_random_moments_cost_nothing() -> None:
    command = [sys.executable, "-m", "tests.soak", "--kills", str(KILLS)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{KILLS} of {KILLS} kills cost nothing" in done.stdout
