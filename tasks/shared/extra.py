"""`train.extra`: which fields of `transformers.TrainingArguments` may be set by their own names."""

import ast
import importlib.util
import json
import math
from collections.abc import Container
from functools import cache
from pathlib import Path
from typing import Any

from tasks.shared.errors import did_you_mean

Extra = dict[str, bool | int | float | str | None]

# how much, how fast and in what numbers: what these take names nothing outside a training
ALLOWED = frozenset(
    """
    activation_checkpointing_kwargs average_tokens_across_devices bf16_full_eval data_seed
    dataloader_multiprocessing_context dataloader_prefetch_factor ddp_broadcast_buffers ddp_bucket_cap_mb
    ddp_find_unused_parameters ddp_static_graph ddp_timeout debug eval_accumulation_steps eval_delay
    eval_do_concat_batches eval_use_gather_object fp16_full_eval gradient_checkpointing_kwargs
    include_num_input_tokens_seen log_level log_level_replica log_on_each_node logging_first_step
    lr_scheduler_kwargs neftune_noise_alpha optim_args prediction_loss_only tf32
    torch_compile_mode torch_empty_cache_steps use_cache
    """.split()  # noqa: SIM905 (a list of this length reads better as words)
)
# what these say is decided by `precision`, `eval_strategy` and the way a stage works: rows come in one order,
# workers hear of each epoch, all of validation is measured, and a training that goes on does so at its step
MANAGED = frozenset(
    """
    auto_find_batch_size batch_eval_metrics bf16 dataloader_drop_last dataloader_in_order
    dataloader_persistent_workers dataloader_pin_memory ddp_backend disable_tqdm do_eval
    do_predict do_train enable_jit_checkpoint eval_on_start fp16 full_determinism gradient_checkpointing
    greater_is_better ignore_data_skip include_for_metrics label_names length_column_name
    load_best_model_at_end local_rank logging_nan_inf_filter logging_strategy optim_target_modules output_dir
    push_to_hub remove_unused_columns report_to restore_callback_states_from_checkpoint resume_from_checkpoint
    save_on_each_node save_only_model save_steps save_strategy save_total_limit skip_memory_metrics use_cpu
    """.split()  # noqa: SIM905
)
# files that are read, hubs, tokens, services that are told, and code that no pin names
OUTSIDE = frozenset(
    """
    accelerator_config deepspeed fsdp fsdp_config hub_always_push hub_model_id hub_private_repo hub_revision
    hub_strategy hub_token liger_kernel_config parallelism_config project run_name torch_compile_backend
    trackio_bucket_id trackio_space_id trackio_static_space_id use_liger_kernel
    """.split()  # noqa: SIM905
)


@cache
def training_arguments() -> dict[str, list[str]]:
    """Return the fields of the installed `TrainingArguments`, and of which types a value of each may be."""
    assigned = [statement for statement in _body("TrainingArguments") if isinstance(statement, ast.AnnAssign)]
    return {ast.unparse(statement.target): _types(statement.annotation) for statement in assigned}


def _types(annotation: ast.expr) -> list[str]:
    """Return the names of the types of an annotation, such as int, None and dict."""
    if isinstance(annotation, ast.BinOp):
        return [*_types(annotation.left), *_types(annotation.right)]
    return [ast.unparse(annotation).partition("[")[0]]


@cache
def _body(name: str) -> list[ast.stmt]:
    """Return the body of a class of transformers.training_args from its source: importing takes seconds."""
    spec = importlib.util.find_spec("transformers")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("transformers is not installed")
    tree = ast.parse((Path(spec.origin).parent / "training_args.py").read_text("utf-8"))
    (body,) = (node.body for node in tree.body if isinstance(node, ast.ClassDef) and node.name == name)
    return body


def plain(value: Any) -> Any:
    """Read a word inside a mapping as params.yaml would: 2 and 1e-5 are numbers, true is a truth value.

    A word without a letter stays one: params.yaml has it from `''`.
    """
    if not isinstance(value, dict):
        return value
    return {key: _read(word) if isinstance(word, str) and word else word for key, word in value.items()}


def _read(word: str) -> Any:
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        return YAML(typ="safe", pure=True).load(word)
    except (YAMLError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        # it is no YAML, and may be none
        return word


def arguments(value: Any) -> Any:
    """Read words as `plain` does, and a mapping inside as the JSON that `TrainingArguments` takes for one."""
    read = plain(value)
    if not isinstance(read, dict):
        return read
    return {key: json.dumps(word) if isinstance(word, dict) else word for key, word in read.items()}


def known(extra: Extra, own: Container[str]) -> Extra:
    """Return `extra`; raise ValueError for a name that is one of Train's `own` fields or not allowed.

    And for a value of another type than the field's, or NaN. A list of what is allowed: a field that a later
    release of transformers brings is refused until judged.
    """
    for name, value in extra.items():
        if name in own:
            raise ValueError(f"{name} has a field of its own: set train.{name}")
        if name in MANAGED:
            raise ValueError(f"{name} is decided by retrain and cannot be set")
        if name in OUTSIDE:
            what = "a file, a hub, a token, a logging service or code from outside"
            raise ValueError(f"{name} names {what}, which a training never uses; leave it out")
        if name not in ALLOWED:
            unknown = f"{name} is not one of the allowed fields of transformers.TrainingArguments"
            raise ValueError(f"{unknown}{did_you_mean(name, ALLOWED)} Allowed: {', '.join(sorted(ALLOWED))}")
        if isinstance(value, float) and not math.isfinite(value):
            raise ValueError(f"{name} {value} is no finite number")
        types = training_arguments()[name]
        if not _is_one_of(value, types):
            said = " or ".join("a mapping" if kind == "dict" else kind for kind in types)
            raise ValueError(f"{name} {value!r} is not of type {said}; give one that is, or leave {name} out")
    return extra


def _is_one_of(value: Any, types: Container[str]) -> bool:
    """Return whether a value is of one of these types; a whole number is a float, no truth value is."""
    if value is None:
        return "None" in types
    return type(value).__name__ in types or (type(value) is int and "float" in types)
