"""Memory that a training has freed is there for its next step, without asking the kernel for pages again."""

import subprocess
import sys

import pytest

from tests.support.project import ROOT

FAULTS = """
import resource
import torch
from tasks.train.cpu import memory

memory.keep()
for turn in range(6):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    tensors = [torch.ones(size * 1000) for size in (12_000, 500, 3_000, 77)]
    del tensors
    print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="glibc only")
def test_what_is_freed_is_kept_in_few_pages() -> None:
    done = subprocess.run(
        [sys.executable, "-c", FAULTS], cwd=ROOT, capture_output=True, text=True, check=True
    )
    faults = [int(line) for line in done.stdout.split()]
    # 62 MB are 15,000 pages of 4 KiB
    assert max(faults[1:]) < 500, faults
