"""The Hugging Face Trainer, made to give equal bits whether or not it was interrupted."""

import math
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from operator import itemgetter
from pathlib import Path
from typing import Any

import polars as pl
import torch
from datasets import Dataset
from torch import Tensor
from torch.utils.data import Sampler
from transformers import PrinterCallback, Trainer, TrainerCallback, TrainingArguments
from transformers import TrainerControl as Control
from transformers import TrainerState as State
from transformers.integrations.integration_utils import rewrite_logs
from transformers.trainer_pt_utils import LengthGroupedSampler

from tasks.problems import Collator, Prediction, Problem, Targets
from tasks.problems.common.predicting import by_row, predict, without_carried
from tasks.shared import devices, progress
from tasks.shared.errors import InputError, did_you_mean
from tasks.shared.files import rounded
from tasks.shared.progress import Progress
from tasks.shared.role import Role
from tasks.shared.statistics import METRICS, Statistics, values
from tasks.shared.tracking import Journal
from tasks.train import checkpoints, divergence, micro_batch
from tasks.train.attention import FLASH
from tasks.train.together import Together

RUNNING_LOSS = "running_loss"
TOLD = ("loss", "grad_norm", "learning_rate", "epoch")
BLUR = 0.05  # of a row's length when rows are grouped by it: rare lengths meet other rows in each epoch
CHECKPOINT_EVERY = "RETRAIN_CHECKPOINT_SECONDS"


class EpochSampler(Sampler[int]):
    """The order of training rows, drawn from nothing but the seed and the epoch.

    A resumed epoch sees what the interrupted one saw. The Trainer's own sampler draws from the global
    generator, which stands elsewhere after a resume. It also sorts by length within 50 batches at a time,
    long rows first; here all rows are sorted, and then the batches shuffled, which leaves a quarter of the
    padding.
    """

    def __init__(self, lengths: Sequence[int], batch_size: int, strategy: str, seed: int) -> None:
        self.lengths, self.batch_size, self.strategy, self.seed = lengths, batch_size, strategy, seed
        self.epoch = 0

    def __len__(self) -> int:
        return len(self.lengths)

    def __iter__(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + self.epoch)
        order = torch.randperm(len(self.lengths), generator=generator)
        if self.strategy == "group_by_length":
            order = self._grouped(order, generator)
        return iter(order.tolist())

    def _grouped(self, order: Tensor, generator: torch.Generator) -> Tensor:
        """Gather rows of like length in batches and shuffle those; the longest first: full memory shows."""
        lengths = torch.tensor(self.lengths)[order]
        blurred = lengths * (1 + BLUR * torch.rand(len(order), generator=generator))
        blurred[lengths.argmax()] = torch.inf
        by_length = order[torch.argsort(blurred, descending=True, stable=True)]
        first, *others = torch.split(by_length, self.batch_size)
        # the incomplete batch stays last
        rest = [others.pop()] if others and len(others[-1]) < self.batch_size else []
        shuffled = [others[place] for place in torch.randperm(len(others), generator=generator).tolist()]
        return torch.cat([first, *shuffled, *rest])


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


class SeededTrainer(Trainer):
    """A Trainer with an EpochSampler, whose only voice is Follow; its checkpoints hold the running loss.

    On validation it asks the problem what the model predicts, and what that is worth. On a CPU it clips
    gradients in the optimizer's own pass over them. However a step's rows are cut into micro-batches and
    given to processes, each row or token counts for as much as any other.
    """

    # the Trainer's own: what a batch may hold
    _signature_columns: list[str]

    def __init__(
        self,
        *,
        sampler: EpochSampler,
        curves: Path,
        problem: Problem,
        targets: Targets,
        rows: pl.DataFrame,
        train_collator: Collator | None = None,
        together: Together | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        # where train rows become batches otherwise than those of validation
        self.train_collator = train_collator
        # what is evaluated may hold the encoder's answers instead of what it reads
        self.validation: Dataset = self.eval_dataset
        self.sampler, self.problem, self.targets, self.rows = sampler, problem, targets, rows
        # of the validation rows, in the order of their batches: their numbers, and what the model predicts
        self.order: list[int] = []
        self.predictions: list[Prediction] = []
        self.remove_callback(PrinterCallback)
        self.follow = Follow(sampler, curves, together)
        self.together = self.follow.together
        self.add_callback(self.follow)
        # of the step under way, in all processes: rows or tokens, where the model's own loss is their mean
        self.items: Tensor | None = None
        self.knows_its_loss = self.args.world_size * self.args.gradient_accumulation_steps == 1

    def _get_train_sampler(self, train_dataset: Any = None) -> EpochSampler:
        return self.sampler

    def get_train_dataloader(self) -> Any:
        """Return batches of train rows, put together in their own way."""
        usual: Any = self.data_collator
        self.data_collator: Any = self.train_collator or usual
        try:
            return super().get_train_dataloader()
        finally:
            self.data_collator = usual

    def _get_eval_sampler(self, eval_dataset: Any) -> Any:
        """Return the Trainer's order, drawn here so that it is known; each evaluation draws the same."""
        if self.args.train_sampling_strategy == "group_by_length":
            # from the lengths on record: the Trainer would read every input for them
            lengths = self.validation.data["length"].to_pylist()
            seed = self.args.seed if self.args.data_seed is None else self.args.data_seed
            drawn = torch.Generator().manual_seed(seed)
            sampler = LengthGroupedSampler(self.args.eval_batch_size, lengths=lengths, generator=drawn)
        else:
            sampler = super()._get_eval_sampler(eval_dataset)
        self.order = list(range(len(eval_dataset)) if sampler is None else sampler)
        return self.order

    def prediction_step(
        self,
        model: Any,
        inputs: Any,
        prediction_loss_only: bool,  # noqa: FBT001
        ignore_keys: Any = None,
    ) -> tuple[Any, None, None]:
        """Return the loss; keep what the problem makes of the logits, of all processes."""
        loss, logits, _ = super().prediction_step(model, inputs, False, ignore_keys)
        if self.problem.validation_rows is None:
            batch = self._prepare_inputs(inputs)
            with self._as_trained():
                found = self.problem.predict(model, self.processing_class, batch, self.targets, logits)
            self.predictions += self.accelerator.gather_for_metrics(found, use_gather_object=True)
        return loss, None, None

    def _set_signature_columns_if_needed(self) -> None:
        """Have batches hold what `predict` takes out of them too."""
        super()._set_signature_columns_if_needed()
        self._signature_columns = [*dict.fromkeys([*self._signature_columns, *self.problem.carried])]

    def _get_num_items_in_batch(self, batch_samples: list[Any], device: torch.device) -> Any:
        """Count what a step's loss is the mean of, also where the model does not ask for it."""
        if batch_samples and not self.knows_its_loss:
            self.knows_its_loss = True
            if self.takes_items and micro_batch.is_mean(self, batch_samples[0]):
                # the Trainer goes by the signature, and would add up means as if they were sums
                self.model_accepts_loss_kwargs = False
        items = super()._get_num_items_in_batch(batch_samples, device)
        self.items = None
        if items is None and batch_samples and self._is_cut:
            counts = sum(micro_batch.num_items(self.model, batch) for batch in batch_samples)
            self.items = self.accelerator.gather(torch.tensor([float(counts)], device=device)).sum()
        return items

    @property
    def takes_items(self) -> bool:
        """Whether the model's signature has `num_items_in_batch`, or this Trainer acts as if."""
        return bool(getattr(self, "model_accepts_loss_kwargs", False))

    @property
    def _is_cut(self) -> bool:
        return bool(self.args.world_size * self.args.gradient_accumulation_steps > 1)

    def compute_loss(self, model: Any, inputs: Any, *given: Any, **named: Any) -> Any:
        """Give the model what it is to be given; have its mean count for as many items as it is of."""
        count = micro_batch.num_items(self.model, inputs) if self.items is not None else 0
        found = super().compute_loss(model, without_carried(self.problem, inputs), *given, **named)
        if self.items is None or not model.training:
            return found
        # divided by the steps that are added up, and by the processes, afterwards
        share = count * self.current_gradient_accumulation_steps * self.args.world_size / self.items
        return (found[0] * share, found[1]) if isinstance(found, tuple) else found * share

    def evaluation_loop(self, *given: Any, **named: Any) -> Any:
        """Return the loss and the problem's metrics, without those that these rows do not define.

        Raises InputError when that which selects the checkpoint is none of them.
        """
        self.predictions = []
        rows = f"{self.args.per_device_eval_batch_size} validation rows at once"
        with devices.holds(f"{rows}; lower train.per_device_eval_batch_size"):
            output = super().evaluation_loop(*given, **named)
        divergence.check("loss on validation", output.metrics["eval_loss"], self.state.global_step, self.args)
        with devices.holds(f"{rows}; lower train.per_device_eval_batch_size"):
            statistics = self._measured()
        best = self.args.metric_for_best_model
        if best in statistics:
            self.args.greater_is_better = METRICS[statistics[best].metric].higher_is_better
        elif best != "loss":
            known = ["loss", *statistics]
            missing = f"there is no validation metric '{best}'{did_you_mean(best, known)}"
            raise InputError(f"train.metric_for_best_model: {missing} Known: {', '.join(known)}")
        for name, value in values(statistics).items():
            if name == best or math.isfinite(value):
                output.metrics[f"eval_{name}"] = value
        return output

    def _as_trained(self) -> Any:
        """Have flash attention compute in half precision, as it must; all else predicts in fp32."""
        attention = self.accelerator.unwrap_model(self.model).config._attn_implementation  # noqa: SLF001
        return self.compute_loss_context_manager() if attention == FLASH else nullcontext()

    def _measured(self) -> Statistics:
        """Return what the validation rows, or as many as the problem says, add to its metrics."""
        rows, data, most = self.rows, self.validation, self.problem.validation_rows
        if most == 0:
            return {}
        if most is None:
            found = [
                prediction
                for _, prediction in sorted(zip(self.order, self.predictions, strict=True), key=itemgetter(0))
            ]
            predicted = by_row(self.problem, found, data, rows)
        else:
            rows, size = rows.head(most), self.args.per_device_eval_batch_size
            of_rows = data["row"] if "row" in data.column_names else range(len(data))
            data = data.select(range(sum(row < rows.height for row in of_rows)))
            self.model.eval()
            with self._as_trained():
                predicted = predict(
                    self.problem, self.model, self.processing_class, data, rows, self.targets, size
                )
        return self.problem.measure(predicted, rows, self.targets)

    def training_step(self, *given: Any, **named: Any) -> Tensor:
        """Return the loss, looked at on a CPU; a GPU would be waited for: there Follow looks at logs.

        Raises MemoryFullError where memory does not hold the step.
        """
        with micro_batch.fits(self.args):
            loss: Tensor = super().training_step(*given, **named)
        if loss.device.type == "cpu":
            divergence.check("the training loss", loss.item(), self.state.global_step + 1, self.args)
        return loss

    def _clip_grad_norm(self, model: Any) -> Tensor:
        """Return the norm; on a CPU, fused AdamW scales gradients as it reads them, in no pass of its own."""
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
        self.state.stateful_callbacks[RUNNING_LOSS] = {
            "sum": self._tr_loss.item(),
            "since_step": self._globalstep_last_logged,
        }
        # an epoch's end is saved over what the clock may have saved at its last step
        checkpoints.unmark(Path(self.args.output_dir) / f"checkpoint-{self.state.global_step}")
        # whoever saves before that would have it unmarked
        self.together.wait()
        super()._save_checkpoint(model, trial)
        # each process saves its own random states, and the first one is about to take the checksums of all
        self.accelerator.wait_for_everyone()
        self.together.gather(Path(self.args.output_dir) / f"checkpoint-{self.state.global_step}")
        # it is for a resume alone: the next epoch of this process would take it for its own
        del self.state.stateful_callbacks[RUNNING_LOSS]

    def _load_best_model(self) -> None:
        """Leave it on the disk: it is taken from there once its checksums have been looked at."""

    def _run_epoch(self, **kwargs: Any) -> None:
        # there when this is the first epoch after a resume
        known = self.state.stateful_callbacks.pop(RUNNING_LOSS, None)
        if known is not None:
            self._tr_loss.fill_(known["sum"])
            self._globalstep_last_logged = known["since_step"]
        super()._run_epoch(**kwargs)


def validation_names(metrics: dict[str, Any]) -> list[str]:
    """Return the validation scores in a log entry, without the Trainer's wall-clock figures.

    Sorted, as a resumed log is.
    """
    clock = ("runtime", "samples_per_second", "steps_per_second", "model_preparation_time")
    scores = [name for name in sorted(metrics) if name.startswith("eval_") and not name.endswith(clock)]
    return [name.removeprefix("eval_") for name in scores]


def evaluations(history: list[dict[str, Any]]) -> list[dict[str, float]]:
    """Return what a training has scored on validation: for each evaluation its step and its scores.

    Rounded as metrics/train.json has them, so that equal scores are equal to those of other trainings.
    """
    found: list[dict[str, float]] = [
        {"step": entry["step"], **{name: entry[f"eval_{name}"] for name in validation_names(entry)}}
        for entry in history
        if "eval_loss" in entry
    ]
    return [rounded(scores) for scores in found]


def write_curves(history: list[dict[str, Any]], folder: Path) -> None:
    """Write train_loss.csv (a row per logging step) and validation_METRIC.csv (a row per evaluation).

    What the curve is of stands in the last column, where `dvc plots` looks for it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    _write_csv(folder / "train_loss.csv", history, "loss", "learning_rate")
    for name in sorted({name for entry in history for name in validation_names(entry)} | {"loss"}):
        _write_csv(folder / f"validation_{name}.csv", history, f"eval_{name}")


def _write_csv(file: Path, history: list[dict[str, Any]], name: str, *more: str) -> None:
    keys = ("step", "epoch", *more, name)
    lines = [",".join(key.removeprefix("eval_") for key in keys)]
    lines += [",".join(f"{entry[key]:.10g}" for key in keys) for entry in history if name in entry]
    part = file.with_suffix(".part")
    part.write_text("\n".join(lines) + "\n", encoding="utf-8")
    part.replace(file)
