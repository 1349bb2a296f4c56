"""Tokenizers, image processors and feature extractors, of a base model or as they were saved."""

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from tasks.problems.common import vocabulary
from tasks.problems.common.pretrained.configs import HERE, config, is_from_scratch, positions
from tasks.problems.common.pretrained.errors import in_words
from tasks.problems.common.pretrained.scratch import refuse_unbuildable
from tasks.problems.common.vocabulary import Texts
from tasks.shared.errors import InputError, is_memory_full
from tasks.shared.foreign_code import refuse_code
from tasks.shared.params import Tokenize

if TYPE_CHECKING:
    from transformers import BaseImageProcessor, PreTrainedConfig, PreTrainedTokenizerBase

# each holds all that a tokenizer needs
WHOLE = ("tokenizer.json", "tekken.json", "tokenizer.model", "tiktoken.model")
# texts, and letters of each, by which a tokenizer is compared
SHOWN = 100


def processor(base: Path, params: Tokenize, head: str, texts: Texts) -> "PreTrainedTokenizerBase":
    """Return the base model's tokenizer, or one learned from texts, which are batches of the train split's.

    head: the Auto class of the problem's model. Raises InputError when a model from scratch cannot be built
    of the sizes that it is given.
    """
    if is_from_scratch(base):
        refuse_unbuildable(config(base), head)
    if params.train.kind is None:
        made = tokenizer(base, params.max_length)
        if params.special_tokens:
            vocabulary.add(made, params.special_tokens)
        return made
    settings = config(base)
    # of a tokenizer that is learned, the padding token is one of the first
    learned = vocabulary.learn(params, settings.model_type, texts, positions(settings, 1))
    _refuse_another(learned, settings, next(iter(texts())))
    return learned


def _refuse_another(
    learned: "PreTrainedTokenizerBase", settings: "PreTrainedConfig", texts: Sequence[str]
) -> None:
    """Raise InputError unless AutoTokenizer, which goes by the model type too, loads a tokenizer as it is."""
    from transformers import AutoTokenizer

    some = [text[:SHOWN] for text in texts[:SHOWN]]
    with TemporaryDirectory(prefix="retrain-tokenizer-") as folder:
        settings.save_pretrained(folder)
        learned.save_pretrained(folder)
        try:
            loaded = AutoTokenizer.from_pretrained(folder, **HERE)
        except Exception as error:
            # whatever it raises of files that another class reads
            if is_memory_full(error):
                raise
            loaded = None
    if loaded is None or loaded(some)["input_ids"] != learned(some)["input_ids"]:
        kind = f"transformers loads no {type(learned).__name__} beside a {settings.model_type} model"
        raise InputError(f"tokenize.train.kind: {kind}; set another kind, such as bpe or unigram")


def tokenizer(folder: Path, max_length: int) -> "PreTrainedTokenizerBase":
    """Load a base model's tokenizer.

    It cuts at the least of `max_length`, its own limit and the model's positions. One that has no padding
    token pads by the one that config.json names, or by its end token. Raises InputError when there is none,
    or no vocabulary, or one that is not the model's.
    """
    from transformers import AutoTokenizer

    settings = config(folder)
    # a decoder's head reads the end token, so a text that spells it must not make another
    names = {"split_special_tokens": True} if settings.is_encoder_decoder else {}
    with in_words(f"model.name: the tokenizer in {folder} cannot be loaded"):
        made = AutoTokenizer.from_pretrained(folder, **HERE, **names)
    missing = _missing_vocabulary(made, folder)
    if missing:
        wanted = f"no vocabulary for its {type(made).__name__}: neither tokenizer.json nor {missing}"
        raise InputError(f"model.name: {folder} has {wanted}; save the tokenizer beside the model")
    known = getattr(settings.get_text_config(), "vocab_size", None) or len(made)
    if is_from_scratch(folder):
        # as many as it needs, and its config.json has no say
        known = len(made)
    if made.vocab_size > known:
        sizes = f"the tokenizer in {folder} has {made.vocab_size} tokens and the model {known}"
        raise InputError(f"model.name: {sizes}; they do not belong together")
    # a padding token that was added to the tokenizer alone has no row in the model's embedding
    if made.pad_token is None or made.pad_token_id >= known:
        _give_padding(made, settings, folder)
    padding = made.pad_token_id if is_from_scratch(folder) else None
    most = min(max_length, _own_limit(made, folder), positions(settings, padding) or max_length)
    made.model_max_length = int(most)
    return made


def _give_padding(made: "PreTrainedTokenizerBase", settings: "PreTrainedConfig", folder: Path) -> None:
    """Have a tokenizer pad on the right, by the token that config.json names or by its end token."""
    padding = getattr(settings.get_text_config(), "pad_token_id", None)
    # a config from scratch names no token of this tokenizer
    in_config = padding is not None and 0 <= padding < made.vocab_size and not is_from_scratch(folder)
    made.pad_token = made.convert_ids_to_tokens(padding) if in_config else made.eos_token
    made.padding_side = "right"
    if made.pad_token is None:
        neither = f"the tokenizer in {folder} has neither a padding token nor an end token to pad by"
        raise InputError(f"model.name: {neither}; name another model")


def _own_limit(made: "PreTrainedTokenizerBase", folder: Path) -> float:
    """Return how many tokens a tokenizer says that it reads; raise InputError for what is no such number."""
    limit = made.model_max_length
    if isinstance(limit, bool) or not isinstance(limit, (int, float)) or not limit >= 1:
        said = f"model_max_length in the tokenizer_config.json of {folder} is {limit!r}"
        raise InputError(f"model.name: {said}, not how many tokens it reads; mend or remove it")
    return limit


def saved_tokenizer(folder: Path) -> "PreTrainedTokenizerBase":
    """Load a tokenizer as it was saved, beside a model or alone."""
    from transformers import AutoTokenizer

    refuse_code(folder)
    return AutoTokenizer.from_pretrained(folder, **HERE)


def end(processor: "PreTrainedTokenizerBase") -> int | None:
    """Return the token that ends a text; None where the tokenizer has none."""
    # BERT's have no end but [SEP], and BigBird's end by that although they have another one
    ends: tuple[int | None, ...] = (processor.eos_token_id, processor.sep_token_id)
    last = processor("a")["input_ids"][-1:]
    if last and last[0] in ends:
        return int(last[0])
    return next((token for token in ends if token is not None), None)


def image_processor(folder: Path) -> "BaseImageProcessor":
    """Load what makes pictures into pixels, of a base or as saved; raise InputError where there is none."""
    from transformers import AutoImageProcessor

    return _preprocessor(AutoImageProcessor, folder, "image processor", backend="pil")


def feature_extractor(folder: Path) -> Any:
    """Load what makes sounds into features, of a base or as saved; raise InputError where there is none."""
    from transformers import AutoFeatureExtractor

    return _preprocessor(AutoFeatureExtractor, folder, "feature extractor")


def characters(folder: Path) -> Any:
    """Load a CTC model's tokenizer of characters, of a base model or as it was saved."""
    from transformers import Wav2Vec2CTCTokenizer

    return _preprocessor(Wav2Vec2CTCTokenizer, folder, "tokenizer of characters")


def _preprocessor(auto: Any, folder: Path, what: str, **how: Any) -> Any:
    refuse_code(folder)
    with in_words(f"model.name: {folder} has no {what} that can be loaded"):
        return auto.from_pretrained(folder, **HERE, **how)


def _missing_vocabulary(made: "PreTrainedTokenizerBase", folder: Path) -> str:
    """Return the files that a tokenizer lacks; empty when it lacks none, or reads bytes and needs none."""
    names = type(made).vocab_files_names
    # one in Python has read its files, or failed; one in Rust is made without any too
    if not made.is_fast or not names or any((folder / name).exists() for name in WHOLE):
        return ""
    kinds = {"vocab_file", "merges_file"} & names.keys() or names.keys()
    return " and ".join(sorted(names[kind] for kind in kinds if not (folder / names[kind]).exists()))
