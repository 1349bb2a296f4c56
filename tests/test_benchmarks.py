"""`python -m benchmarks`: each can be imported, and some are run on little, of which the figures say nothing."""

import importlib
import subprocess
import sys

import pytest

from benchmarks.__main__ import NAMES
from tests.support.project import ROOT
from tests.support.wait import PATIENCE


@pytest.mark.parametrize("name", NAMES)
def test_a_benchmark_has_what_it_imports(name: str) -> None:
    assert callable(importlib.import_module(f"benchmarks.{name}").measure)


@pytest.mark.slow
@pytest.mark.parametrize("words", ["tokenization --rows 300", "training --steps 2 --plain b"])
def test_a_benchmark_prints_a_ratio(words: str) -> None:
    command = [sys.executable, "-m", "benchmarks", *words.split(), "--repeat", "1"]
    done = subprocess.run(command, cwd=ROOT, text=True, capture_output=True, timeout=PATIENCE, check=False)
    assert done.returncode == 0, done.stderr
    assert "| ours / this |" in done.stdout
