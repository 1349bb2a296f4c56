"""What a stage does around its work: memory that is full is one sentence."""

import subprocess
import sys

import pytest

from tests.support.project import ROOT
from tests.support.wait import PATIENCE

# more than any machine has
MUCH = 1 << 50


@pytest.mark.parametrize("library", ["numpy", pytest.param("torch", marks=pytest.mark.slow)])
def test_a_stage_that_needs_more_memory_than_there_is_ends_in_a_sentence(library: str) -> None:
    work = f"import {library}; {library}.empty({MUCH})"
    code = f"from tasks.shared.stage import stage\nwith stage('train'): {work}"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("error: train: this machine's memory does not hold what the stage needs; ")
    assert done.stderr.count("\n") == 1
