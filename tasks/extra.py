"""`train.extra`: which fields of `transformers.TrainingArguments` may be passed on by their own names."""

import ast
import importlib.util
import math
from collections.abc import Container
from functools import cache
from pathlib import Path
from typing import Any

from tasks.errors import did_you_mean

Extra = dict[str, bool | int | float | str | None]

# what these say is decided by `precision`, `eval_strategy` and the way a stage works
MANAGED = frozenset(
    """
    auto_find_batch_size bf16 dataloader_pin_memory ddp_backend disable_tqdm do_eval do_predict do_train fp16 full_determinism greater_is_better
    ignore_data_skip length_column_name load_best_model_at_end local_rank logging_nan_inf_filter logging_strategy
    output_dir push_to_hub remove_unused_columns report_to restore_callback_states_from_checkpoint resume_from_checkpoint save_only_model save_steps
    save_strategy save_total_limit use_cpu
    """.split()  # noqa: SIM905 (a list of this length reads better as words)
)


@cache
def training_arguments() -> frozenset[str]:
    """Return the field names of the installed `TrainingArguments`."""
    body = _body("TrainingArguments")
    return frozenset(s.target.id for s in body if isinstance(s, ast.AnnAssign) and isinstance(s.target, ast.Name))


@cache
def optimizers() -> frozenset[str]:
    """Return the names that the installed `OptimizerNames` has."""
    values = (s.value for s in _body("OptimizerNames") if isinstance(s, ast.Assign))
    return frozenset(str(value.value) for value in values if isinstance(value, ast.Constant))


@cache
def _body(name: str) -> list[ast.stmt]:
    """Return what stands in a class of transformers.training_args, read from its source: importing it takes seconds."""
    spec = importlib.util.find_spec("transformers")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("transformers is not installed")
    tree = ast.parse((Path(spec.origin).parent / "training_args.py").read_text("utf-8"))
    (body,) = (node.body for node in tree.body if isinstance(node, ast.ClassDef) and node.name == name)
    return body


def plain(value: Any) -> Any:
    """Read a command line word as the YAML scalar it looks like: 2 is a number, true a truth value."""
    if isinstance(value, dict):
        import yaml

        return {key: yaml.safe_load(word) if isinstance(word, str) else word for key, word in value.items()}
    return value


def known(extra: Extra, own: Container[str]) -> Extra:
    """Return `extra`; raise ValueError for NaN, or a name that is one of Train's `own` fields, managed, or unknown."""
    for name, value in extra.items():
        if name in own:
            raise ValueError(f"{name} has a field of its own: set train.{name}")
        if name in MANAGED:
            raise ValueError(f"{name} is decided by retrain and cannot be set")
        if name not in training_arguments():
            raise ValueError(f"{name} is not a field of transformers.TrainingArguments{did_you_mean(name, training_arguments())}")
        if isinstance(value, float) and not math.isfinite(value):
            raise ValueError(f"{name} {value} is no finite number")
    return extra
