"""What goes on beside training: progress, curves, checkpoints by the clock, the end when asked, trackers."""

import math
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

from transformers import TrainerCallback, TrainingArguments
from transformers import TrainerControl as Control
from transformers import TrainerState as State
from transformers.integrations.integration_utils import rewrite_logs

from tasks.shared import progress
from tasks.shared.errors import InputError
from tasks.shared.progress import Progress
from tasks.shared.role import Role
from tasks.shared.tracking import Journal
from tasks.train import checkpoints, divergence
from tasks.train.curves import evaluations, validation_names, write_curves
from tasks.train.epochs import EpochSampler
from tasks.train.together import Together

TOLD = ("loss", "grad_norm", "learning_rate", "epoch")
CHECKPOINT_EVERY = "RETRAIN_CHECKPOINT_SECONDS"


def seconds_between_checkpoints() -> float:
    """Return how often to keep a checkpoint by the clock, or raise InputError."""
    given = os.environ.get(CHECKPOINT_EVERY, "60")
    try:
        seconds = float(given)
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds < math.inf:
        raise InputError(f"{CHECKPOINT_EVERY}: '{given}' is no number of seconds; give 0 or more")
    return seconds


class Follow(TrainerCallback):
    """What goes on beside training: epochs, curves, progress, checkpoints that are marked and rotated."""

    def __init__(self, sampler: EpochSampler, curves: Path, together: Together | None = None) -> None:
        self.sampler, self.curves = sampler, curves
        self.together = together or Together(curves, Role())
        # set when training is asked to end, by SIGTERM or from elsewhere
        self.ends = threading.Event()
        self.progress: Progress | None = None
        self.loss = float("nan")
        self.best: int | None = None
        self.is_told = False
        self.every = seconds_between_checkpoints()
        self.saved = self.asked = time.monotonic()
        self.took = 0.0

    @property
    def asked_to_end(self) -> bool:
        """Whether training is to save a checkpoint after the step it is in, and end."""
        return self.ends.is_set()

    def ask_to_end(self, *_: Any) -> None:
        """Have training end; the first process says so."""
        self.ends.set()
        if self.progress is not None and not self.is_told:
            self.is_told = True
            progress.keeping()

    def on_train_begin(self, args: TrainingArguments, state: State, control: Control, **_: Any) -> None:
        """Start the progress where the checkpoint left off; be ready to be asked to end."""
        if self.together.is_first:
            self.progress = Progress("train", state.max_steps, state.global_step)
            self.best = state.best_global_step
        if self.together.is_first and state.log_history:
            # whoever was told of the last ones may have died of it
            progress.evaluated(evaluations(state.log_history), state.max_steps)
        # Ray Train has a thread train, to which no signal comes
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, self.ask_to_end)

    def on_epoch_begin(self, args: TrainingArguments, state: State, control: Control, **_: Any) -> None:
        """Draw this epoch's order."""
        self.sampler.epoch = int(state.epoch or 0)

    def on_step_end(self, args: TrainingArguments, state: State, control: Control, **_: Any) -> None:
        """Tell the progress; log whenever a checkpoint is due: the running loss is not part of one."""
        if control.should_save:
            control.should_log = True
        elif self._wants_checkpoint(args, state):
            self.asked = time.monotonic()
            control.should_save = True
        if self.progress is not None:
            known = {} if math.isnan(self.loss) else {"loss": self.loss}
            self.progress.update(state.global_step, **known, epoch=float(state.epoch or 0))

    def _wants_checkpoint(self, args: TrainingArguments, state: State) -> bool:
        """Return whether to save one that only serves to go on from.

        When asked to end, and now and then by the clock. Never where an epoch or training ends, because one
        saved before that end's evaluation would go on behind it; and where saving takes long (3 s) less
        often, so that it stays a twentieth of the time. Several processes agree on it after each step: each
        may have been asked, and the first one has the clock.
        """
        ends = state.global_step >= state.max_steps or float(state.epoch or 0).is_integer()
        due = time.monotonic() - self.saved >= self.every * max(1.0, self.took / 3)
        # looked at once: a signal that comes while they agree counts at the next step
        asked, due = self.together.any(self.asked_to_end, due and self.together.is_first)
        if asked:
            self.ask_to_end()
        return not ends and (asked or due)

    def on_epoch_end(self, args: TrainingArguments, state: State, control: Control, **_: Any) -> None:
        """As on_step_end: log whenever a checkpoint is due."""
        if control.should_save:
            control.should_log = True

    def on_log(
        self,
        args: TrainingArguments,
        state: State,
        control: Control,
        logs: dict[str, float],
        **_: Any,
    ) -> None:
        """Bring the learning curves up to date, to be looked at while training runs; end when it diverges."""
        if "loss" in logs:
            divergence.check("the training loss", logs["loss"], state.global_step, args)
        if "grad_norm" in logs and not args.fp16:
            divergence.check("the norm of the gradients", logs["grad_norm"], state.global_step, args)
        self.loss = logs.get("loss", self.loss)
        if self.together.is_first:
            write_curves(state.log_history, self.curves)

    def on_evaluate(
        self,
        args: TrainingArguments,
        state: State,
        control: Control,
        metrics: dict[str, float],
        **_: Any,
    ) -> None:
        """Say the validation scores; end when one is no number, which cannot be compared with the best."""
        for name in validation_names(metrics):
            divergence.check(f"{name} on validation", metrics[f"eval_{name}"], state.global_step, args)
        if self.together.is_first:
            scores = "  ".join(f"{name} {metrics[f'eval_{name}']:.4f}" for name in validation_names(metrics))
            print(f"validation at step {state.global_step}: {scores}", flush=True)
            progress.evaluated(evaluations(state.log_history), state.max_steps)

    def on_save(self, args: TrainingArguments, state: State, control: Control, **_: Any) -> None:
        """Mark the checkpoint as whole, and only then delete what it makes needless."""
        if self.together.is_first:
            checkpoint = Path(args.output_dir) / f"checkpoint-{state.global_step}"
            self.best = checkpoints.settle(checkpoint, self.best)

    def on_train_end(self, args: TrainingArguments, state: State, control: Control, **_: Any) -> None:
        """Take the bar away."""
        if self.progress is not None:
            self.progress.close()


class End(TrainerCallback):
    """Ends training that was asked to, once a checkpoint is kept and all callbacks before it have seen it."""

    def __init__(self, follow: Follow) -> None:
        self.follow = follow

    def on_save(self, args: TrainingArguments, state: State, control: Control, **_: Any) -> None:
        """Note how long saving took; end when any process was asked to."""
        follow = self.follow
        follow.took, follow.saved = time.monotonic() - follow.asked, time.monotonic()
        # whoever ends first has the others ended: all do, or none
        (asked,) = follow.together.any(follow.asked_to_end)
        if asked:
            follow.ask_to_end()
            if follow.together.is_first:
                progress.kept(state.global_step)
            sys.exit(128 + signal.SIGTERM)


class Tell(TrainerCallback):
    """Writes down for trackers what training logs, by the names that the Trainer's own callbacks give it."""

    def __init__(self, journal: Journal) -> None:
        self.journal = journal

    def on_log(
        self,
        args: TrainingArguments,
        state: State,
        control: Control,
        logs: dict[str, float],
        **_: Any,
    ) -> None:
        """Write down losses, rates and validation scores, and no figure of the clock."""
        named = [*TOLD, *(f"eval_{name}" for name in validation_names(logs))]
        told = {name: float(logs[name]) for name in named if name in logs}
        # the epoch alone is what the Trainer logs at its end
        if set(told) != {"epoch"}:
            self.journal.scores(state.global_step, rewrite_logs(told))
