"""A tokenizer learned from the train split, with the special tokens that a model type needs.

Equal texts give equal bytes, in constant memory. The trainers of `tokenizers` give ids in the order of a
hash map, by which ties are decided, so that two trainings of its WordPiece differ, and add up floats in that
order for Unigram; here letters have their ids beforehand, and Unigram is learned by counting.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tasks.shared.architectures import sizes, with_head
from tasks.shared.errors import InputError
from tasks.shared.params import Tokenize
from tasks.shared.params.tokenize import TokenizerTraining

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerBase

# batches of texts, from the start whenever it is called
Texts = Callable[[], Iterator[Sequence[str]]]

# types whose models were made for <s> ... </s>
LIKE_ROBERTA = frozenset(
    """
    bart barthez bigbird_pegasus camembert data2vec-text esm ibert led longformer mbart mpnet mvp plbart
    roberta roberta-prelayernorm xlm-roberta xlm-roberta-xl xmod
    """.split()  # noqa: SIM905 (a list of this length reads better as words)
)
# letters with a token of their own at most, as BERT's; a vocabulary of letters has more
LETTERS = 1000
# of a vocabulary, one such part for letters at most
SHARE_OF_LETTERS = 4
# pieces per token to begin with
SEED = 4
# as SentencePiece spells them
BYTES = tuple(f"<0x{byte:02X}>" for byte in range(256))
BLANK = "▁"
# of the pieces, each time they have been counted (Kudo 2018, section 3.2)
KEPT = 0.75


@dataclass(frozen=True)
class Style:
    """Which special tokens a model type needs, by role in the order of ids, and where they stand in a row."""

    special: dict[str, str]
    single: str = "$A"
    pair: str = "$A $B"
    # whether it tells a first from a second text by types
    has_types: bool = False
    padding_side: str = "right"
    # whether a row begins as if after a blank, so that a word is the same token at its start
    starts_with_blank: bool = False


def style(kind: str) -> Style:
    """Return the special tokens of a model type."""
    if kind == "xlnet":
        special = {
            "unk": "<unk>",
            "bos": "<s>",
            "eos": "</s>",
            "cls": "<cls>",
            "sep": "<sep>",
            "pad": "<pad>",
            "mask": "<mask>",
        }
        return Style(
            special,
            "$A:0 <sep>:0 <cls>:2",
            "$A:0 <sep>:0 $B:1 <sep>:1 <cls>:2",
            has_types=True,
            padding_side="left",
        )
    if kind in LIKE_ROBERTA:
        special = {
            "bos": "<s>",
            "pad": "<pad>",
            "eos": "</s>",
            "unk": "<unk>",
            "mask": "<mask>",
            "cls": "<s>",
            "sep": "</s>",
        }
        is_encoder = kind not in with_head("AutoModelForSeq2SeqLM")
        return Style(special, "<s> $A </s>", "<s> $A </s> </s> $B </s>", starts_with_blank=is_encoder)
    if kind in with_head("AutoModelForSeq2SeqLM"):
        return Style({"pad": "<pad>", "eos": "</s>", "unk": "<unk>"}, "$A </s>", "$A </s> $B </s>")
    if kind in with_head("AutoModelForCausalLM") and kind not in with_head("AutoModelForMaskedLM"):
        end = "<|endoftext|>"
        special = {"pad": "<|pad|>", "eos": end, "unk": "<|unknown|>", "bos": end}
        # without a prompt a picture's caption begins with the first token
        return Style(special, f"{end} $A") if kind == "git" else Style(special)
    special = {"pad": "[PAD]", "unk": "[UNK]", "cls": "[CLS]", "sep": "[SEP]", "mask": "[MASK]"}
    template = "[CLS]:0 $A:0 [SEP]:0"
    has_types = "type_vocab_size" in sizes(kind)
    return Style(special, template, f"{template} $B:1 [SEP]:1", has_types=has_types, starts_with_blank=True)


def learn(params: Tokenize, kind: str, texts: Texts, limit: int | None) -> "PreTrainedTokenizerBase":
    """Learn a tokenizer for a model type from texts.

    limit: how many tokens the model has positions for, if it has a limit. Raises InputError when the texts
    hold nothing to learn.
    """
    from transformers import ByT5Tokenizer, CanineTokenizer, PreTrainedTokenizerFast

    its = style(kind)
    max_length = min(params.max_length, limit or params.max_length)
    made: PreTrainedTokenizerBase
    if params.train.kind == "code_point":
        made = CanineTokenizer(model_max_length=max_length)
    elif params.train.kind == "byte":
        made = ByT5Tokenizer(extra_ids=0, model_max_length=max_length)
        if "mask" in its.special:
            made.add_special_tokens({"mask_token": "<mask>"})
    else:
        learned = _learned(params.train, its, texts)
        special = {f"{role}_token": token for role, token in its.special.items()}
        names = ["input_ids", *(["token_type_ids"] if its.has_types else []), "attention_mask"]
        made = PreTrainedTokenizerFast(
            tokenizer_object=learned,
            model_max_length=max_length,
            padding_side=its.padding_side,
            model_input_names=names,
            clean_up_tokenization_spaces=False,
            # a text that spells the end token must not make another
            split_special_tokens=kind in with_head("AutoModelForSeq2SeqLM"),
            **special,
        )
    if params.special_tokens:
        add(made, params.special_tokens)
    return made


def add(tokenizer: "PreTrainedTokenizerBase", tokens: Sequence[str]) -> None:
    """Give a tokenizer more tokens that it never splits."""
    from tokenizers import AddedToken

    # one that splits the special ones would split these as well
    is_special = not tokenizer.split_special_tokens
    tokenizer.add_tokens(
        [AddedToken(token, normalized=False, special=is_special) for token in tokens],
        special_tokens=is_special,
    )


def _learned(params: TokenizerTraining, its: Style, texts: Texts) -> "Tokenizer":
    from tokenizers import AddedToken, processors

    special = list(dict.fromkeys(its.special.values()))
    make = {"bpe": _bpe, "wordpiece": _wordpiece, "unigram": _unigram, "character": _character}[
        str(params.kind)
    ]
    tokenizer = make(params, its, special, texts)
    for token in special:
        takes_blank = token == its.special.get("mask")
        added = AddedToken(token, special=True, normalized=False, lstrip=takes_blank)
        tokenizer.add_special_tokens([added])
    ids = [(token, tokenizer.token_to_id(token)) for token in special]
    around = processors.TemplateProcessing(single=its.single, pair=its.pair, special_tokens=ids)
    # offsets are of the word alone, not of the blank before it
    trim = [processors.ByteLevel(trim_offsets=True)] if params.kind == "bpe" else []
    tokenizer.post_processor = processors.Sequence([*trim, around])
    return tokenizer


def _bpe(params: TokenizerTraining, its: Style, special: list[str], texts: Texts) -> "Tokenizer":
    """Learn merges of bytes, as GPT-2's: nothing is unknown, and what is decoded is what was read."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    if params.lowercase:
        tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=its.starts_with_blank)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    _train(tokenizer, trainers.BpeTrainer, params.vocab_size, special, alphabet, texts)
    return tokenizer


def _wordpiece(params: TokenizerTraining, its: Style, special: list[str], texts: Texts) -> "Tokenizer":
    """Learn pieces of words, as BERT's."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

    normalizer = normalizers.BertNormalizer(lowercase=params.lowercase)
    room = (params.vocab_size - len(special)) // SHARE_OF_LETTERS
    letters = _letters(texts, normalizer, min(LETTERS, room))
    tokenizer = Tokenizer(models.WordPiece(unk_token=its.special["unk"]))
    tokenizer.normalizer, tokenizer.pre_tokenizer = normalizer, pre_tokenizers.BertPreTokenizer()
    first = [*special, *(f"##{letter}" for letter in letters)]
    _train(
        tokenizer,
        trainers.WordPieceTrainer,
        params.vocab_size,
        first,
        letters,
        texts,
        limit_alphabet=len(letters),
    )
    # anew, without the letters among its special tokens
    learned = Tokenizer(models.WordPiece(tokenizer.get_vocab(), unk_token=its.special["unk"]))
    learned.normalizer, learned.pre_tokenizer = normalizer, pre_tokenizers.BertPreTokenizer()
    learned.decoder = decoders.WordPiece(cleanup=False)
    return learned


def _character(params: TokenizerTraining, its: Style, special: list[str], texts: Texts) -> "Tokenizer":
    """Give each letter a token, those that occur most where there are too many; blanks and line ends too."""
    from tokenizers import Tokenizer, decoders, models, normalizers

    normalizer = normalizers.Lowercase() if params.lowercase else None
    letters = _letters(texts, normalizer, params.vocab_size - len(special), blanks=True)
    vocabulary = {token: number for number, token in enumerate([*special, *letters])}
    tokenizer = Tokenizer(models.BPE(vocabulary, [], unk_token=its.special["unk"]))
    if normalizer is not None:
        tokenizer.normalizer = normalizer
    tokenizer.decoder = decoders.Fuse()
    return tokenizer


def _unigram(params: TokenizerTraining, its: Style, special: list[str], texts: Texts) -> "Tokenizer":
    """Learn likely pieces, as SentencePiece's, with bytes for letters that are not among them.

    Pieces that merging finds are counted where the likeliest split uses them, and those that it uses least
    are left out, until as many are left as there should be: expectation maximisation with the best split
    in place of all (Kudo 2018).
    """
    from tokenizers import Tokenizer, models, trainers

    room = params.vocab_size - len(special) - len(BYTES)
    empty = _of_pieces(params, its, special, {})
    letters = _letters(texts, empty.normalizer, max(1, room // SHARE_OF_LETTERS))
    letters = [BLANK, *(letter for letter in letters if letter != BLANK)]
    seeds = Tokenizer(models.BPE())
    seeds.normalizer, seeds.pre_tokenizer = empty.normalizer, empty.pre_tokenizer
    _train(seeds, trainers.BpeTrainer, SEED * room, [], letters, texts, limit_alphabet=len(letters))
    found = seeds.get_vocab()
    pieces = sorted(found.keys() - {*letters}, key=lambda piece: found[piece])
    counts: Counter[str] = Counter()
    while True:
        tokenizer = _of_pieces(
            params, its, special, {piece: counts[piece] + 1 for piece in (*pieces, *letters)}
        )
        counts = Counter()
        for batch in texts():
            for encoding in tokenizer.encode_batch_fast(list(batch), add_special_tokens=False):
                counts.update(encoding.tokens)
        if len(pieces) <= room - len(letters):
            final = {piece: counts[piece] + 1 for piece in (*pieces, *letters)}
            return _of_pieces(params, its, special, final)
        left = max(room - len(letters), int(KEPT * len(pieces)))
        pieces = sorted(pieces, key=lambda piece: (-counts[piece], found[piece]))[:left]


def _of_pieces(
    params: TokenizerTraining, its: Style, special: list[str], counts: dict[str, int]
) -> "Tokenizer":
    """Return the tokenizer that splits into the pieces likeliest together, by how often each occurs."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers

    total = sum(counts.values())
    scored = [(piece, math.log(count / total)) for piece, count in counts.items()]
    # a byte is the last resort
    least = min((score for _, score in scored), default=0.0) - 10
    whole = [*((token, 0.0) for token in special), *((byte, least) for byte in BYTES), *scored]
    made = Tokenizer(models.Unigram(whole, special.index(its.special["unk"]), byte_fallback=True))
    made.normalizer = normalizers.Sequence([normalizers.Lowercase()] if params.lowercase else [])
    scheme = "always" if its.starts_with_blank else "first"
    made.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=scheme)
    made.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Metaspace(prepend_scheme=scheme)])
    return made


def _train(
    tokenizer: "Tokenizer",
    trainer: Any,
    size: int,
    special: list[str],
    alphabet: list[str],
    texts: Texts,
    **more: Any,
) -> None:
    made = trainer(
        vocab_size=size, special_tokens=special, initial_alphabet=alphabet, show_progress=False, **more
    )
    tokenizer.train_from_iterator((list(batch) for batch in texts()), made)


def _letters(texts: Texts, normalizer: Any, most: int, *, blanks: bool = False) -> list[str]:
    """Return the letters that occur, sorted; if there are more than `most`, those that occur most often."""
    counts: Counter[str] = Counter()
    for batch in texts():
        text = "\n".join(batch) if not blanks else "".join(batch)
        counts.update(normalizer.normalize_str(text) if normalizer is not None else text)
    found = [(-count, letter) for letter, count in counts.items() if blanks or not letter.isspace()]
    if not found:
        raise InputError("tokenize.train.kind: the train split holds no letter to learn a tokenizer from")
    return sorted(letter for _, letter in sorted(found)[:most])
