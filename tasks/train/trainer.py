"""The Hugging Face Trainer, made to give equal bits whether or not it was interrupted."""

import math
import os
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Sampler
from transformers import (
    PrinterCallback,
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)

from tasks.shared import progress
from tasks.shared.choices import Sampling
from tasks.shared.errors import InputError
from tasks.shared.progress import Progress
from tasks.train import checkpoints, divergence

RUNNING_LOSS = "running_loss"
BLUR = 0.05  # of a row's length when rows are grouped by it: rare lengths meet other rows in each epoch
CHECKPOINT_EVERY = "RETRAIN_CHECKPOINT_SECONDS"


class EpochSampler(Sampler[int]):
    """The order of training rows, drawn from nothing but the seed and the epoch: a resumed epoch sees what the interrupted one saw.

    The Trainer's own sampler draws from the global generator, which stands elsewhere after a resume. It also sorts by length within 50
    batches at a time, long rows first; here all rows are sorted, and then the batches shuffled, which leaves a quarter of the padding.
    """

    def __init__(self, lengths: Sequence[int], batch_size: int, strategy: str, seed: int) -> None:
        self.lengths, self.batch_size, self.strategy, self.seed = lengths, batch_size, strategy, seed
        self.epoch = 0

    def __len__(self) -> int:
        return len(self.lengths)

    def __iter__(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + self.epoch)
        order = torch.randperm(len(self.lengths), generator=generator)
        if self.strategy == Sampling.group_by_length:
            order = self._grouped(order, generator)
        return iter(order.tolist())

    def _grouped(self, order: Tensor, generator: torch.Generator) -> Tensor:
        """Gather rows of like length in batches and shuffle those, but for the first: the longest row, so that full memory shows at once."""
        lengths = torch.tensor(self.lengths)[order]
        blurred = lengths * (1 + BLUR * torch.rand(len(order), generator=generator))
        blurred[lengths.argmax()] = torch.inf
        first, *others = torch.split(order[torch.argsort(blurred, descending=True, stable=True)], self.batch_size)
        rest = [others.pop()] if others and len(others[-1]) < self.batch_size else []  # the incomplete batch stays last
        shuffled = [others[place] for place in torch.randperm(len(others), generator=generator).tolist()]
        return torch.cat([first, *shuffled, *rest])


def seconds_between_checkpoints() -> float:
    """Return how often to keep a checkpoint by the clock; raise InputError when the setting is no such time."""
    given = os.environ.get(CHECKPOINT_EVERY, "60")
    try:
        seconds = float(given)
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds < math.inf:
        raise InputError(f"{CHECKPOINT_EVERY}: '{given}' is no number of seconds; give 0 or more")
    return seconds


class Follow(TrainerCallback):
    """Keep the sampler on its epoch, the curves on disk, the progress told, every checkpoint marked when it is whole, and one on SIGTERM."""

    def __init__(self, sampler: EpochSampler, curves: Path) -> None:
        self.sampler, self.curves = sampler, curves
        self.progress: Progress | None = None
        self.loss = float("nan")
        self.best: int | None = None
        self.asked_to_end = False
        self.every = seconds_between_checkpoints()
        self.saved = self.asked = time.monotonic()
        self.took = 0.0

    def ask_to_end(self, *_: Any) -> None:
        """Have training save a checkpoint after the step it is in, and end."""
        if not self.asked_to_end:
            self.asked_to_end = True
            progress.keeping()

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:  # noqa: ARG002
        """Start the progress where the checkpoint left off. One process alone can save at any step; several would have to agree on it."""
        if state.is_world_process_zero:
            self.progress = Progress("train", state.max_steps, state.global_step)
            self.best = state.best_global_step
        if args.world_size == 1:
            signal.signal(signal.SIGTERM, self.ask_to_end)

    def on_epoch_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:  # noqa: ARG002
        """Draw this epoch's order."""
        self.sampler.epoch = int(state.epoch or 0)

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Tell the progress; log whenever a checkpoint is due, because the running loss is not part of one."""
        if control.should_save:
            control.should_log = True
        elif self._wants_checkpoint(args, state):
            self.asked = time.monotonic()
            control.should_save = True
        if self.progress is not None:
            self.progress.update(state.global_step, **({"loss": self.loss} if self.loss == self.loss else {}), epoch=float(state.epoch or 0))

    def _wants_checkpoint(self, args: TrainingArguments, state: TrainerState) -> bool:
        """Return whether to save one that only serves to go on from: when asked to end, and now and then by the clock.

        Never where an epoch or training ends, because one saved before that end's evaluation would go on behind it; and where
        saving takes long (3 s) less often, so that it stays a twentieth of the time.
        """
        ends = state.global_step >= state.max_steps or float(state.epoch or 0).is_integer()
        due = time.monotonic() - self.saved >= self.every * max(1.0, self.took / 3)
        return not ends and (self.asked_to_end or (due and args.world_size == 1))

    def on_epoch_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:  # noqa: ARG002
        """As on_step_end: log whenever a checkpoint is due."""
        if control.should_save:
            control.should_log = True

    def on_log(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, logs: dict[str, float], **_: Any) -> None:  # noqa: ARG002
        """Bring the learning curves up to date, to be looked at while training runs; end when it diverges."""
        if "loss" in logs:
            divergence.check("the training loss", logs["loss"], state.global_step, args)
        if "grad_norm" in logs and not args.fp16:
            divergence.check("the norm of the gradients", logs["grad_norm"], state.global_step, args)
        self.loss = logs.get("loss", self.loss)
        if state.is_world_process_zero:
            write_curves(state.log_history, self.curves)

    def on_evaluate(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, metrics: dict[str, float], **_: Any) -> None:  # noqa: ARG002
        """Say the validation scores; end when one is no number, which cannot be compared with the best."""
        for name in validation_names(metrics):
            divergence.check(f"{name} on validation", metrics[f"eval_{name}"], state.global_step, args)
        if state.is_world_process_zero:
            scores = "  ".join(f"{name} {metrics[f'eval_{name}']:.4f}" for name in validation_names(metrics))
            print(f"validation at step {state.global_step}: {scores}", flush=True)

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:  # noqa: ARG002
        """Mark the checkpoint as whole, and only then delete what it makes needless; end when asked to."""
        if state.is_world_process_zero:
            step, best = state.global_step, state.best_global_step
            checkpoints.mark(Path(args.output_dir) / f"checkpoint-{step}")
            # one that is the best itself leaves the best before it to fall back on
            checkpoints.rotate(Path(args.output_dir), step, self.best if best == step else best)
            self.best = best
        self.took, self.saved = time.monotonic() - self.asked, time.monotonic()
        if self.asked_to_end:
            progress.kept(state.global_step)
            sys.exit(128 + signal.SIGTERM)

    def on_train_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:  # noqa: ARG002
        """Take the bar away."""
        if self.progress is not None:
            self.progress.close()


class SeededTrainer(Trainer):
    """A Trainer whose order of rows comes from an EpochSampler, whose only voice is Follow, and whose checkpoints hold the running loss.

    On a CPU it clips gradients in the optimizer's own pass over them.
    """

    def __init__(self, *, sampler: EpochSampler, curves: Path, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.sampler = sampler
        self.remove_callback(PrinterCallback)
        self.add_callback(Follow(sampler, curves))

    def _get_train_sampler(self, train_dataset: Any = None) -> EpochSampler:  # noqa: ARG002
        return self.sampler

    def training_step(self, *given: Any, **named: Any) -> Tensor:
        """Return the loss, looked at where that costs nothing; a GPU would be waited for: there Follow looks at logs."""
        loss: Tensor = super().training_step(*given, **named)
        if loss.device.type == "cpu":
            divergence.check("the training loss", loss.item(), self.state.global_step + 1, self.args)
        return loss

    def _clip_grad_norm(self, model: Any) -> Tensor:
        """Return the norm; on a CPU, have fused AdamW scale the gradients as it reads them, instead of in a pass of its own."""
        optimizer = self.optimizer.optimizer
        if model.device.type != "cpu" or self.accelerator.scaler is not None:
            norm: Tensor = super()._clip_grad_norm(model)
            return norm
        if not optimizer.defaults.get("fused"):
            norm = super()._clip_grad_norm(model)
        else:
            gradients = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
            norm = torch.nn.utils.get_total_norm(gradients)
            # which it divides by, as for torch.amp.GradScaler
            optimizer.grad_scale = ((norm + 1e-6) / self.args.max_grad_norm).clamp(min=1.0)
        divergence.check("the norm of the gradients", norm.item(), self.state.global_step + 1, self.args)
        return norm

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        divergence.check_weights(model, self.state.global_step, self.args)
        self.state.stateful_callbacks[RUNNING_LOSS] = {"sum": self._tr_loss.item(), "since_step": self._globalstep_last_logged}
        # an epoch's end is saved over what the clock may have saved at its last step
        checkpoints.unmark(Path(self.args.output_dir) / f"checkpoint-{self.state.global_step}")
        super()._save_checkpoint(model, trial)
        # each process saves its own random states, and the first one is about to take the checksums of all
        self.accelerator.wait_for_everyone()
        # it is for a resume alone: the next epoch of this process would take it for its own
        del self.state.stateful_callbacks[RUNNING_LOSS]

    def _load_best_model(self) -> None:
        """Leave it on the disk: it is taken from there once its checksums have been looked at."""

    def _run_epoch(self, **kwargs: Any) -> None:
        known = self.state.stateful_callbacks.pop(RUNNING_LOSS, None)  # there when this is the first epoch after a resume
        if known is not None:
            self._tr_loss.fill_(known["sum"])
            self._globalstep_last_logged = known["since_step"]
        super()._run_epoch(**kwargs)


def validation_names(metrics: dict[str, Any]) -> list[str]:
    """Return the validation scores in a log entry, without the Trainer's wall-clock figures; sorted, as a resumed log is."""
    clock = ("runtime", "samples_per_second", "steps_per_second", "model_preparation_time")
    return [name.removeprefix("eval_") for name in sorted(metrics) if name.startswith("eval_") and not name.endswith(clock)]


def write_curves(history: list[dict[str, Any]], folder: Path) -> None:
    """Write loss.csv (one row per logging step) and validation.csv (one row per evaluation), as `dvc plots` reads them."""
    folder.mkdir(parents=True, exist_ok=True)
    losses = [(entry["step"], entry["epoch"], entry["loss"], entry["learning_rate"]) for entry in history if "loss" in entry]
    _write_csv(folder / "loss.csv", ("step", "epoch", "loss", "learning_rate"), losses)
    evaluations = [entry for entry in history if "eval_loss" in entry]
    names = validation_names(evaluations[0]) if evaluations else ["loss"]
    scores = [(entry["step"], entry["epoch"], *(entry[f"eval_{name}"] for name in names)) for entry in evaluations]
    _write_csv(folder / "validation.csv", ("step", "epoch", *names), scores)


def _write_csv(file: Path, header: Sequence[str], rows: Sequence[Sequence[float]]) -> None:
    lines = [",".join(header), *(",".join(f"{value:.10g}" for value in row) for row in rows)]
    part = file.with_suffix(".part")
    part.write_text("\n".join(lines) + "\n", encoding="utf-8")
    part.replace(file)
