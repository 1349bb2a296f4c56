"""The Trainer under FSDP: layers are sharded, and checkpoints are those of tasks.train.sharded."""

from pathlib import Path
from typing import Any

from torch import Tensor
from torch.distributed.tensor import DTensor
from transformers import Trainer

from tasks.train import sharded
from tasks.train.trainer import SeededTrainer


class ShardedTrainer(SeededTrainer):
    """A SeededTrainer whose processes each hold a shard of the model, and save what they hold."""

    def create_accelerator_and_postprocess(self) -> None:
        """Have accelerate shard a model on CPUs too: by itself it does on GPUs alone."""
        super().create_accelerator_and_postprocess()
        self.is_fsdp_enabled = True
        if self.args.use_cpu:
            sharded.enable(self.accelerator, self.args)

    def _prepare_for_training(self, *given: Any, **named: Any) -> Any:
        """Shard the model layer by layer."""
        sharded.settle(self.accelerator.state.fsdp_plugin, self.model)
        return super()._prepare_for_training(*given, **named)

    def compute_loss_context_manager(self) -> Any:
        """Return autocast where precision is half; accelerate puts it around whole models alone."""
        return self.accelerator.autocast()

    def _clip_grad_norm(self, model: Any) -> Tensor:
        """Return the norm, as the Trainer has it: each process holds a part of each gradient."""
        norm: Any = Trainer._clip_grad_norm(self, model)  # noqa: SLF001 (this class's own)
        return norm.full_tensor() if isinstance(norm, DTensor) else norm

    def save_model(
        self,
        output_dir: str | None = None,
        _internal_call: bool = False,  # noqa: FBT001, FBT002 (the Trainer's own)
    ) -> None:
        """Save a folder of transformers' from shards."""
        weights = sharded.whole(self.model, is_first=self.together.is_first)
        if self.args.should_save:
            self.model.save_pretrained(output_dir, state_dict=weights)
            self.processing_class.save_pretrained(output_dir)

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        """Leave it to `_save_rng_state`, which each process calls."""

    def _save_scaler(self, output_dir: str) -> None:
        """Leave it to `_save_rng_state`."""

    def _save_rng_state(self, output_dir: str) -> None:
        """Save all that this process alone holds."""
        sharded.save(self, Path(output_dir))

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        sharded.load_weights(self.model, Path(resume_from_checkpoint))

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        if checkpoint is not None:
            sharded.load(self, Path(checkpoint))

    def _load_scaler(self, checkpoint: str | None) -> None:
        """Leave it to `_load_optimizer_and_scheduler`."""

    def _load_rng_state(self, checkpoint: str | None) -> None:
        if checkpoint is not None:
            sharded.load_random(self, Path(checkpoint))
