"""What the environment may not decide."""

import os

import pytest

from tasks.shared import environment


def test_what_would_decide_numbers_is_taken_out_and_what_users_need_stays(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    decides = {"ACCELERATE_MIXED_PRECISION": "bf16", "FSDP_VERSION": "1", "NVIDIA_TF32_OVERRIDE": "1"}
    needed = {"HF_HOME": "/hub", "CUDA_VISIBLE_DEVICES": "0", "PYTORCH_CUDA_ALLOC_CONF": "", "MKL_CBWR": ""}
    for name, value in {**decides, **needed}.items():
        monkeypatch.setenv(name, value)
    environment.leave_out()
    assert not decides.keys() & os.environ.keys()
    assert {name: os.environ[name] for name in needed} == needed
