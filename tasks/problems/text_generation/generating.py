"""Text that a model generates, prompts of like length together."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from tasks.problems.common import pretrained
from tasks.problems.common.predicting import batches
from tasks.shared.errors import InputError

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


def prepare(model: "PreTrainedModel", processor: "PreTrainedTokenizerBase", end: int | None) -> None:
    """Have a model end what it generates as it has learned to, and read documents side by side.

    end: the token that ends what it learns. Those that end what its base generates go on doing so.
    """
    generates = model.generation_config
    known = generates.eos_token_id
    ends = known if isinstance(known, list) else [] if known is None else [known]
    if end is not None and end not in ends:
        generates.eos_token_id = [*ends, end] if ends else end
    if generates.pad_token_id is None:
        generates.pad_token_id = processor.pad_token_id
    # a model that keeps a cache wherever it is called takes documents side by side for one
    # (transformers' `_preprocess_mask_arguments`)
    model.config.use_cache, generates.use_cache = False, True


def generated(
    model: "PreTrainedModel",
    processor: "PreTrainedTokenizerBase",
    prompts: Mapping[int, str],
    search: Mapping[str, Any],
    batch_size: int,
) -> dict[int, str]:
    """Return what a model says after each prompt, by its number.

    search: as `generate` takes it. Prompts that leave no room for `max_new_tokens` among the model's
    positions are left out; raises InputError when that is all.
    Padded on the left, as the `text-generation` pipeline does it.
    """
    import torch

    room = pretrained.positions(model.config)
    encoded = {
        number: processor(prompt, add_special_tokens=False)["input_ids"] for number, prompt in prompts.items()
    }
    if room is not None:
        new = search["max_new_tokens"]
        encoded = {number: ids for number, ids in encoded.items() if len(ids) + new <= room}
        if not encoded:
            beside = f"leaves no room for a prompt among the model's {room} positions"
            raise InputError(f"text_generation.generation.max_new_tokens {new} {beside}; lower it")
    asked = [number for number, ids in encoded.items() if ids]
    found = {}
    with torch.inference_mode():
        for batch in batches([len(encoded[number]) for number in asked], batch_size):
            some = [asked[place] for place in batch]
            longest = len(encoded[some[0]])
            ids = torch.full((len(some), longest), processor.pad_token_id)
            mask = torch.zeros_like(ids)
            for place, number in enumerate(some):
                size = len(encoded[number])
                ids[place, longest - size :] = torch.tensor(encoded[number])
                mask[place, longest - size :] = 1
            said = model.generate(
                input_ids=ids.to(model.device), attention_mask=mask.to(model.device), **search
            )
            for number, tokens in zip(some, said[:, longest:].tolist(), strict=True):
                found[number] = processor.decode(tokens, skip_special_tokens=True)
    return found
