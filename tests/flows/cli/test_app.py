"""The command itself, before any of its commands."""

import subprocess
import sys

from tests.support.project import ROOT

HELP = """import inspect
from collections import Counter
from flows.cli.app import main

read, source = Counter(), inspect.getsource

def counted(what):
    read[what] += 1
    return source(what)

inspect.getsource = counted
try:
    main(["run", "--help"])
except SystemExit as end:
    assert end.code == 0
assert len(read) > 20, "models of params among them"
print("most often", read.most_common(1)[0][1])
"""


def test_help_reads_the_source_of_each_class_once() -> None:
    done = subprocess.run([sys.executable, "-c", HELP], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "most often 1"
    assert "--train.learning-rate" in done.stdout
