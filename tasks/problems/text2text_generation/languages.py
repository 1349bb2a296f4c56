"""Which language a multilingual encoder-decoder reads, and which it writes, as its tokenizer is told."""

from pathlib import Path
from typing import Any

from tasks.problems import Processor
from tasks.shared.errors import InputError, did_you_mean


def are_told(processor: Processor) -> bool:
    """Return whether a tokenizer puts a text's language beside it, as those of mBART, M2M100 and NLLB do."""
    return hasattr(processor, "set_tgt_lang_special_tokens")


def tell(processor: Processor, own: Any, base: Path) -> None:
    """Tell a tokenizer the languages that the params name, which it is saved with.

    Raises InputError where it takes some and none are named, or it knows no such language, or takes none, or
    puts it elsewhere in a target than `decoding` knows.
    """
    named = {"source_language": own.source_language, "target_language": own.target_language}
    if not are_told(processor):
        for param, code in named.items():
            if code is not None:
                none = f"the tokenizer of {base} is told no language"
                raise InputError(f"text2text_generation.{param}: {none}; leave it out")
        return
    known = _codes(processor)
    for param, code in named.items():
        if code is None:
            which = f"a {type(processor).__name__} is told which language it reads and which it writes"
            some = " or ".join(known[:3])
            raise InputError(f"text2text_generation.{param}: {which}; give its code, such as {some}")
        if _number(processor, code) is None:
            hint = did_you_mean(code, known) or "."
            raise InputError(f"text2text_generation.{param}: there is no language '{code}'{hint}")
    processor.tgt_lang, processor.src_lang = own.target_language, own.source_language
    processor.init_kwargs |= {"src_lang": own.source_language, "tgt_lang": own.target_language}
    target = processor(text_target="a")["input_ids"]
    # SeamlessM4T's stands behind an end token
    if _number(processor, own.target_language) not in (target[0], target[-1]):
        place = f"a {type(processor).__name__} puts the language of a target neither first nor last"
        raise InputError(f"model.name: {place}; name another base, such as an mBART, M2M100 or NLLB")


def decoding(processor: Processor) -> dict[str, int | None]:
    """Return by what a decoder is made to write the language that a tokenizer was told.

    Either what it starts with says so (mBART), or what it writes first (mBART-50, M2M100, NLLB).
    """
    if not are_told(processor):
        return {}
    number = _number(processor, processor.tgt_lang)
    if processor(text_target="a")["input_ids"][0] == number:
        return {"forced_bos_token_id": number}
    return {"forced_bos_token_id": None, "decoder_start_token_id": number}


def shortened(ids: list[int], most: int, processor: Processor) -> list[int]:
    """Return the tokens of a target, at most so many, with its end and a language that stands behind it."""
    if len(ids) <= most:
        return ids
    is_behind = are_told(processor) and ids[-1] == _number(processor, processor.tgt_lang)
    behind = ids[-2:] if is_behind else ids[-1:]
    return [*ids[: most - len(behind)], *behind]


def _codes(processor: Processor) -> list[str]:
    """Return the codes of the languages that a tokenizer knows."""
    return list(getattr(processor, "lang_code_to_id", None) or processor.extra_special_tokens)


def _number(processor: Processor, code: str) -> int | None:
    """Return the token of a language; None where a tokenizer knows none. PLBart's java is __java__."""
    known = _codes(processor)
    spelled = next((its for its in (code, f"__{code}__") if its in known), None)
    if spelled is None:
        return None
    numbers = getattr(processor, "lang_code_to_id", None) or {}
    return int(numbers[spelled] if spelled in numbers else processor.convert_tokens_to_ids(spelled))
