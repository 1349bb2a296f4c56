"""The campaign in its short form: what docs/security.md promises, attacked anew with the same seed."""

import subprocess
import sys

import pytest

from tests.campaign import PARTS
from tests.support.project import ROOT


@pytest.mark.slow
@pytest.mark.parametrize("part", PARTS)
def test_nothing_is_lost_executed_or_written_outside(part: str) -> None:
    # a process of its own, because attempts measure the memory they take and what they print
    done = subprocess.run(
        [sys.executable, "-m", "tests.campaign", "--short", part],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
