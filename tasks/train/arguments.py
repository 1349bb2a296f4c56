"""What the Trainer is given: `train` of params.yaml under its own names, and what retrain decides."""

from pathlib import Path
from typing import Any

import torch
from transformers import (
    EarlyStoppingCallback,
    Trainer,
    TrainerCallback,
    TrainingArguments,
    get_scheduler,
)

from tasks.shared.errors import InputError
from tasks.shared.params import Train
from tasks.shared.role import role

# fields of Train that are none of the Trainer's
OURS = frozenset(
    """
    attn_implementation class_weights cpu_shortcuts distributed early_stopping_patience
    early_stopping_threshold encoder_cache extra freeze num_threads padding_free precision
    """.split()  # noqa: SIM905
)
# shards of weights, gradients and states; how they are saved is tasks.train.sharded's
SHARDED: dict[str, Any] = {
    "fsdp": True,
    "fsdp_config": {"version": 2, "state_dict_type": "SHARDED_STATE_DICT", "reshard_after_forward": True},
}


def training_arguments(
    params: Train, output_dir: Path, precision: str, best: str, *, on_cpu: bool
) -> TrainingArguments:
    """Return the Trainer's arguments; raise InputError when it, the optimizer or its schedule takes no value.

    best: the validation metric that selects the checkpoint. Whether more of it is better is known when it is
    measured.
    """
    named: dict[str, Any] = params.model_dump(exclude={*OURS}) | {"metric_for_best_model": best}
    named |= decided(params, output_dir, precision, best, on_cpu=on_cpu)
    # else it would say in all processes but the first what is quiet there
    named |= {"log_level_replica": "error", **params.extra}
    try:
        arguments = TrainingArguments(**named)
        _try_out(arguments)
    except (ValueError, TypeError, LookupError, ImportError) as error:
        raise InputError(f"TrainingArguments does not take this: {' '.join(str(error).split())}") from None
    return arguments


def decided(params: Train, output_dir: Path, precision: str, best: str, *, on_cpu: bool) -> dict[str, Any]:
    """Return what no param says by the Trainer's own name, and none of `train.extra` can."""
    return {
        **(SHARDED if params.distributed.strategy == "fsdp" else {}),
        "output_dir": str(output_dir),
        "save_strategy": params.eval_strategy,
        "save_steps": params.eval_steps,
        # tasks.train.checkpoints deletes: the Trainer does by the clock, and before the next one is whole
        "save_total_limit": None,
        "load_best_model_at_end": True,
        # it would hide that training diverges, and ask the device after every step
        "logging_nan_inf_filter": False,
        "greater_is_better": not best.endswith("loss"),
        "restore_callback_states_from_checkpoint": True,
        "bf16": precision == "bf16",
        "fp16": precision == "fp16",
        "use_cpu": on_cpu,
        "ddp_backend": "gloo" if on_cpu and role().is_started else None,
        "dataloader_pin_memory": not on_cpu,
        "report_to": "none",
        "disable_tqdm": True,
    }


def _try_out(arguments: TrainingArguments) -> None:
    """Make the optimizer and schedule of one weight, so that what they do not take is said before a model is.

    Raises what they raise. Nothing is drawn.
    """
    arguments.get_process_log_level()
    kind, how = Trainer.get_optimizer_cls_and_kwargs(arguments)
    optimizer = kind([torch.nn.Parameter(torch.zeros(1))], **how)
    get_scheduler(arguments.lr_scheduler_type, optimizer, 1, 2, arguments.lr_scheduler_kwargs)


def early_stopping(params: Train) -> list[TrainerCallback]:
    """Return what ends a training early, where params say so."""
    patience = params.early_stopping_patience
    return [EarlyStoppingCallback(patience, params.early_stopping_threshold)] if patience else []
