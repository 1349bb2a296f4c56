"""The Hugging Face Trainer, made to give equal bits whether or not it was interrupted."""

import math
from contextlib import nullcontext
from operator import itemgetter
from pathlib import Path
from typing import Any

import polars as pl
import torch
from datasets import Dataset
from torch import Tensor
from transformers import PrinterCallback, Trainer
from transformers.trainer_pt_utils import LengthGroupedSampler

from tasks.problems import Collator, Prediction, Problem, Targets
from tasks.problems.common.predicting import by_row, predict, without_carried
from tasks.shared import devices
from tasks.shared.errors import InputError, did_you_mean
from tasks.shared.statistics import METRICS, Statistics, values
from tasks.train import checkpoints, divergence, micro_batch
from tasks.train.attention import FLASH
from tasks.train.epochs import EpochSampler
from tasks.train.follow import Follow
from tasks.train.together import Together

RUNNING_LOSS = "running_loss"


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
