"""Times the training loop of any Trainer alike: from its beginning to the end of its last step.

So without a last evaluation or save.
"""

import time
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments


class Stopwatch(TrainerCallback):  # type: ignore[misc]
    """`steps` done and the `seconds` they took."""

    def __init__(self) -> None:
        self.began = self.seconds = 0.0
        self.steps = 0

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Start."""
        self.began = time.perf_counter()

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Stop, for now; on a GPU only after the last step: waiting for it after each would slow it down."""
        if state.global_step == state.max_steps:
            _wait_for_gpu()
        self.seconds = time.perf_counter() - self.began
        self.steps = state.global_step


def _wait_for_gpu() -> None:
    import torch

    if torch.cuda.is_available():
        torch.cuda.synchronize()
