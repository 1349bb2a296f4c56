"""A model that is drawn: its config, and whether it can be built of the sizes that it is given."""

from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks.problems.common.pretrained.configs import config
from tasks.problems.common.pretrained.errors import in_words
from tasks.shared import devices
from tasks.shared.errors import InputError

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

# what a head answers
ANSWERS = {
    "AutoModel": "embeddings",
    "AutoModelForAudioClassification": "audio classification",
    "AutoModelForCTC": "speech recognition",
    "AutoModelForCausalLM": "text generation",
    "AutoModelForImageClassification": "image classification",
    "AutoModelForMaskedLM": "masked tokens",
    "AutoModelForQuestionAnswering": "question answering",
    "AutoModelForSeq2SeqLM": "text-to-text generation",
    "AutoModelForSequenceClassification": "classification",
    "AutoModelForSpeechSeq2Seq": "speech recognition",
    "AutoModelForTokenClassification": "token classification",
    "AutoModelForVisualQuestionAnswering": "visual question answering",
}


def from_scratch(
    base: Path, processor: "PreTrainedTokenizerBase | None", **settings: Any
) -> "PreTrainedConfig":
    """Return the config of a model from scratch: its sizes, its tokenizer's vocabulary and special tokens."""
    made = config(base)
    for its in (made, made.get_text_config()):
        if processor is None:
            break
        if getattr(its, "vocab_size", None) is not None:
            its.vocab_size = len(processor)
        for role in ("pad", "bos", "eos", "cls", "sep", "mask"):
            if hasattr(its, f"{role}_token_id"):
                setattr(its, f"{role}_token_id", getattr(processor, f"{role}_token_id"))
    if made.is_encoder_decoder and processor is not None:
        # BART's decoder starts with the end token, T5's with the padding token
        starts_with_end = getattr(made, "decoder_start_token_id", None) not in (None, 0)
        made.decoder_start_token_id = processor.eos_token_id if starts_with_end else processor.pad_token_id
    if getattr(made, "forced_eos_token_id", None) is not None and processor is not None:
        made.forced_eos_token_id = processor.eos_token_id
    for name, value in settings.items():
        setattr(made, name, value)
    return made


def refuse_unbuildable(settings: "PreTrainedConfig", head: str) -> None:
    """Raise InputError when no model with this head can be built of these sizes, or none that fits in memory.

    Takes no memory itself, and no random number.
    """
    import torch

    try:
        with torch.device("meta"):
            made = built(head, deepcopy(settings))
    except InputError as error:
        if "meta" in str(error).rpartition(": ")[2]:
            # one that looks at its own numbers while it is built
            return
        raise
    num_weights, free = sum(weight.numel() for weight in made.parameters()), devices.free_memory()
    if free is not None and 4 * num_weights > free:
        weights = f"{num_weights / 1e6:,.0f} million weights, {4 * num_weights / 2**20:,.0f} MB"
        there = f"{free / 2**20:,.0f} MB of memory are free"
        has = f"a {settings.model_type} of these sizes has {weights}, and {there}"
        raise InputError(f"model.from_scratch: {has}; give smaller sizes")


def built(head: str, settings: "PreTrainedConfig") -> "PreTrainedModel":
    """Build a model with a head of these sizes, its weights drawn; raise InputError when there is none."""
    import transformers

    what = f"a {settings.model_type} with a head for {ANSWERS.get(head, head)}"
    with in_words(f"model.from_scratch: {what} cannot be built of these sizes", remedy=""):
        made: PreTrainedModel = getattr(transformers, head).from_config(settings, dtype="float32")
    return made
