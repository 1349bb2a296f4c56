"""What a model answers: of the shape that its problem needs, and to a padded row as to the row alone."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from tasks.problems.common.pretrained.errors import in_words
from tasks.shared.errors import InputError

if TYPE_CHECKING:
    from transformers import PreTrainedModel

# how much of the distance between two rows' answers padding may change: rounding changes far less
SAME_ANSWER = 0.01
ROUNDING = 1e-4


def class_logits(model: "PreTrainedModel", batch: Mapping[str, Any]) -> Any:
    """Return what a classifier answers; raise InputError unless that is a number per row and label."""
    logits = model(**batch).logits
    rows = len(next(iter(batch.values())))
    if logits.shape != (rows, model.config.num_labels):
        kind, shape = f"a {model.config.model_type} model", tuple(logits.shape)
        raise InputError(
            f"model.name: {kind} answers with {shape} numbers, not with one per row and label; name another"
        )
    return logits


def try_out(
    model: "PreTrainedModel",
    probe: Callable[["PreTrainedModel", Mapping[str, Any]], Any],
    collate: Callable[[list[dict[str, Any]]], Mapping[str, Any]],
    rows: list[dict[str, Any]],
) -> None:
    """Raise InputError unless a model, dropout off, answers a short and a long row together as each alone.

    probe: of a model and a batch, the numbers (rows, k) to compare.
    """
    import torch

    kind, training = f"a {model.config.model_type} model", model.training

    def answer(some: list[dict[str, Any]]) -> torch.Tensor:
        given = {name: values.to(model.device) for name, values in collate(some).items()}
        logits: torch.Tensor = probe(model, given)
        return logits.float()

    model.eval()
    try:
        with torch.no_grad(), in_words(f"model.name: {kind} cannot be fine-tuned on these rows"):
            together, alone = answer(rows), torch.cat([answer([row]) for row in rows])
    finally:
        model.train(training)
    if not together.isfinite().all():
        raise InputError(
            "model.name: before any training the model answers with NaN or infinity; name a sound one"
        )
    apart = (alone - alone.flip(0)).abs().max()
    if (together - alone).abs().max() > SAME_ANSWER * apart + ROUNDING * alone.abs().max():
        raise InputError(
            f"model.name: {kind} with this tokenizer answers a padded row otherwise than the row alone, "
            "so what a package says would depend on what it is asked beside; name another model"
        )
