"""What the machine trains on, and what it cannot."""

import os
import socket
import subprocess
import sys

import pytest
import torch

from tasks.shared import devices
from tasks.shared.errors import InputError
from tests.support.project import ROOT

HAS_CUDA = torch.cuda.is_available()


@pytest.mark.parametrize("wanted", ["fp32", "bf16"])
def test_a_named_precision_is_taken(wanted: str) -> None:
    assert devices.precision(wanted) == wanted


@pytest.mark.skipif(HAS_CUDA, reason="a CUDA device can do fp16")
def test_fp16_without_cuda_is_refused_with_what_to_use() -> None:
    with pytest.raises(
        InputError, match=r"train.precision: fp16 needs a CUDA device .* use auto, bf16 or fp32"
    ):
        devices.precision("fp16")


@pytest.mark.skipif(HAS_CUDA, reason="a CUDA device decides for itself")
def test_auto_is_bf16_only_where_the_cpu_multiplies_it() -> None:
    assert devices.precision("auto") == ("bf16" if devices.cpu_flags() & set(devices.NATIVE_BF16) else "fp32")


def test_what_decides_bits_is_told_and_nothing_that_names_the_machine() -> None:
    told = devices.describe()
    assert list(told) == ["device", "threads"]
    assert told == devices.describe()
    assert (devices.kind() == "cpu") == str(told["device"]).startswith("cpu") == (not HAS_CUDA)
    assert socket.gethostname() not in str(told)


def test_the_number_of_processes_is_the_given_one_or_one_per_device(monkeypatch: pytest.MonkeyPatch) -> None:
    assert devices.processes(3) == 3
    assert devices.processes(None) == max(1, torch.cuda.device_count())
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert devices.processes(None) == 1
    assert devices.processes(2) == 2


@pytest.mark.parametrize(
    ("given", "found"),
    [({}, "1000"), ({"GOMP_SPINCOUNT": "7"}, "7"), ({"OMP_WAIT_POLICY": "active"}, "None")],
)
def test_how_long_threads_spin_is_set_before_torch_is_loaded_unless_somebody_says_it(
    given: dict[str, str], found: str
) -> None:
    program = (
        "import os, sys, tasks.problems; print(os.environ.get('GOMP_SPINCOUNT'), 'torch' in sys.modules)"
    )
    others = {
        name: value for name, value in os.environ.items() if name not in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")
    }
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**others, **given},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == [found, "False"]
