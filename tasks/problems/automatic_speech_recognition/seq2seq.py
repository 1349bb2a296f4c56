"""Speech written down by an encoder-decoder, token by token (Whisper, Radford et al. 2022)."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks.problems.automatic_speech_recognition.params import Own
from tasks.problems.common.sounds import extractors
from tasks.problems.common.sounds.serve import Processor
from tasks.shared.errors import InputError
from tasks.shared.files import read_json

if TYPE_CHECKING:
    from transformers import PreTrainedModel

HEAD = "AutoModelForSpeechSeq2Seq"
KIND = "whisper"
# of a model from scratch; the last one is where timestamps would begin
END, START, NO_TIMESTAMPS = "<|endoftext|>", "<|startoftranscript|>", "<|notimestamps|>"
TASK = "transcribe"


def is_one(base: Path) -> bool:
    """Return whether a base model reads with an encoder and writes with a decoder."""
    from tasks.problems.common import pretrained

    return bool(pretrained.config(base).is_encoder_decoder)


def processor(base: Path, extractor: Any, params: Own) -> Processor:
    """Return the base's tokenizer, or one of bytes; raise InputError for what the model cannot write."""
    from tasks.problems.common import pretrained

    its = pretrained.config(base)
    if its.model_type != KIND:
        what = f"a {its.model_type} writes down speech in a way that is not known here"
        raise InputError(f"model.name: {what}; name a {KIND}, or a model with a head for CTC")
    is_new = pretrained.is_from_scratch(base)
    tokenizer = _bytes() if is_new else pretrained.saved_tokenizer(base)
    if (params.language is not None) != _is_multilingual(base):
        what = "is empty and the model knows many; name the one that is spoken, such as german"
        none = f"is {params.language}, and the model knows no other language than its own; leave it empty"
        raise InputError(f"{_section('language')} {none if params.language else what}")
    if params.language is not None:
        try:
            tokenizer.set_prefix_tokens(language=params.language, task=TASK, predict_timestamps=False)
        except ValueError as error:
            raise InputError(f"{_section('language')}: {' '.join(str(error).split())[:500]}") from None
    most = its.max_target_positions - len(tokenizer.prefix_tokens)
    if params.max_new_tokens > most:
        many = f"{params.max_new_tokens} tokens are more than the {most} that the model can write"
        raise InputError(f"{_section('max_new_tokens')}: {many}; lower it")
    return Processor(extractor, tokenizer)


def _section(name: str) -> str:
    return f"automatic_speech_recognition.{name}"


def _is_multilingual(base: Path) -> bool:
    file = base / "generation_config.json"
    try:
        return file.exists() and bool(read_json(file).get("is_multilingual"))
    except (OSError, ValueError, AttributeError, RecursionError) as error:
        said = f"{file} is no JSON object ({type(error).__name__})"
        raise InputError(f"model.name: {said}; save or download the model anew") from None


def _bytes() -> Any:
    """Return a tokenizer with a token for each byte: no text is unknown to it."""
    from tokenizers import pre_tokenizers
    from transformers import WhisperTokenizer

    known = {byte: number for number, byte in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    special = {"pad_token": END, "extra_special_tokens": [START, NO_TIMESTAMPS]}
    return WhisperTokenizer(vocab=known, merges=[], **special)


def labels(tokenizer: Any, texts: Sequence[str], params: Own) -> tuple[list[list[int]], list[int]]:
    """Return the tokens that are to be written, and whether each text was cut.

    The first one is what a decoder starts with. Texts begin with a blank, as Whisper writes them.
    """
    found, cut = [], []
    most = params.max_new_tokens + len(tokenizer.prefix_tokens) - 1
    for ids in tokenizer([f" {text}" for text in texts])["input_ids"]:
        cut.append(int(len(ids) - 1 > most))
        found.append(ids[1:] if len(ids) - 1 <= most else [*ids[1:most], ids[-1]])
    return found, cut


def model(base: Path, made: Processor, params: Own) -> "tuple[PreTrainedModel, list[str]]":
    """Load an encoder-decoder in fp32; its config says how it writes."""
    from tasks.problems.common import pretrained

    tokenizer = made.tokenizer
    how: dict[str, Any] = extractors.settings(base, made.extractor)
    if pretrained.is_from_scratch(base):
        how |= {"decoder_start_token_id": tokenizer.convert_tokens_to_ids(START)}
        how |= {"begin_suppress_tokens": None, "suppress_tokens": None}
    network, said = pretrained.model(HEAD, base, tokenizer, **how)
    generation = network.generation_config
    # else what only Whisper has there would not be read again
    generation._from_model_config = False  # noqa: SLF001
    names = ("pad_token_id", "eos_token_id", "decoder_start_token_id")
    generation.update(**{name: getattr(network.config, name) for name in names})
    generation.update(**params.model_dump(include={"max_new_tokens", "num_beams"}))
    # what texts hold may be written, such as brackets; and what is forced follows from the rest
    generation.update(do_sample=False, max_length=None, suppress_tokens=None, forced_decoder_ids=None)
    generation.no_timestamps_token_id = tokenizer.convert_tokens_to_ids(NO_TIMESTAMPS)
    generation.is_multilingual = params.language is not None
    generation.return_timestamps = False
    if params.language is not None:
        generation.language, generation.task = params.language, TASK
    return network, said


def probe(network: "PreTrainedModel", batch: Mapping[str, Any]) -> Any:
    """Return the logits of the first token to be written, (rows, vocabulary)."""
    import torch

    rows = len(next(iter(batch.values())))
    first = torch.full((rows, 1), network.config.decoder_start_token_id, device=network.device)
    return network(**batch, decoder_input_ids=first).logits[:, 0]
