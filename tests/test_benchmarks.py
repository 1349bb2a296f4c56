"""What `python -m benchmarks` measures still runs as the project is now; what it finds on so little says nothing."""

import subprocess
import sys

import pytest

from tests.support.project import ROOT
from tests.support.wait import PATIENCE


@pytest.mark.slow
@pytest.mark.parametrize("words", ["tokenization --rows 300", "training --steps 2 --plain b"])
def test_a_benchmark_prints_a_ratio(words: str) -> None:
    command = [sys.executable, "-m", "benchmarks", *words.split(), "--repeat", "1"]
    done = subprocess.run(command, cwd=ROOT, text=True, capture_output=True, timeout=PATIENCE, check=False)
    assert done.returncode == 0, done.stderr
    assert "| ours / this |" in done.stdout
