"""Whether a model predicts each token from what stands before it in its own document, and nothing else."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from tasks.shared.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel

# of the largest logit: where nothing is seen, not even rounding changes
SAME = 1e-5


def check(model: "PreTrainedModel", inputs: Mapping[str, Any]) -> None:
    """Raise InputError when a new last token, or new tokens of a row's first document, change other logits.

    inputs: `input_ids` (rows, tokens), and where documents lie side by side `position_ids`,
    which begin anew with each. There is no attention mask then: transformers makes one of the positions
    (`create_causal_mask`), unless the model keeps a cache to go on from.
    """
    kind = f"a {model.config.model_type} model"
    last = inputs["input_ids"].new_zeros(inputs["input_ids"].shape, dtype=bool)
    last[:, -1] = True
    if _changes(model, inputs, last, ~last):
        raise InputError(
            f"model.name: {kind} sees what comes after the token that it predicts; name a decoder"
        )
    if "position_ids" not in inputs:
        return
    document = (inputs["position_ids"] == 0).cumsum(1)
    if (document > 1).any() and _changes(model, inputs, document == 1, document > 1):
        beside = f"model.name: {kind} sees documents that stand beside its own in a row"
        raise InputError(f"{beside}; set text_generation.packing to false")


def _changes(model: "PreTrainedModel", inputs: Mapping[str, Any], where: "Tensor", seen: "Tensor") -> bool:
    """Return whether other tokens at some places change the logits at others."""
    ids = inputs["input_ids"]
    size = model.get_input_embeddings().weight.shape[0]
    other = ids.where(~where, (ids + 1) % size)
    before, after = (model(**{**inputs, "input_ids": its}).logits[seen].float() for its in (ids, other))
    return bool((before - after).abs().max() > SAME * before.abs().max())
