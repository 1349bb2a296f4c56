"""What the environment may not decide."""

import os
from unittest.mock import patch

from tasks.shared import environment


def test_what_would_decide_numbers_is_taken_out_and_what_users_need_stays() -> None:
    decides = {"ACCELERATE_MIXED_PRECISION": "bf16", "FSDP_VERSION": "1", "NVIDIA_TF32_OVERRIDE": "1"}
    needed = {"HF_HOME": "/hub", "CUDA_VISIBLE_DEVICES": "0", "PYTORCH_CUDA_ALLOC_CONF": "", "MKL_CBWR": ""}
    # whoever runs the tests keeps theirs
    with patch.dict(os.environ, {**decides, **needed}):
        environment.leave_out()
        assert not decides.keys() & os.environ.keys()
        assert {name: os.environ[name] for name in needed} == needed
