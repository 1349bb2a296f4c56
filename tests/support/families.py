"""Base models of every family, tiny, untrained, made offline from their configs, with tokenizers learned from the embedded tickets."""

import json
from collections.abc import Callable
from pathlib import Path

import polars as pl
import torch
import transformers as hf
from tokenizers import ByteLevelBPETokenizer, SentencePieceUnigramTokenizer

from tests.support.way import TICKETS

SIZES = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "max_position_embeddings": 66,
}
T5 = {"d_model": 32, "d_kv": 16, "d_ff": 64, "num_layers": 2, "num_heads": 2}
ROBERTA = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]


def save(model: hf.PreTrainedModel, tokenizer: hf.PreTrainedTokenizerBase, folder: Path) -> None:
    """Write a model and its tokenizer as `save_pretrained` does."""
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _texts() -> list[str]:
    return pl.read_csv(TICKETS)["text"].to_list()


def _bytes(folder: Path, special: list[str]) -> dict[str, str]:
    """Return the files of a byte-pair vocabulary whose first tokens are the special ones."""
    learned = ByteLevelBPETokenizer()
    learned.train_from_iterator(_texts(), vocab_size=400, special_tokens=special, show_progress=False)
    (folder / "learned").mkdir(parents=True)
    learned.save_model(str(folder / "learned"))
    return {"vocab": str(folder / "learned/vocab.json"), "merges": str(folder / "learned/merges.txt")}


def _pieces(special: list[str]) -> list[tuple[str, float]]:
    """Return the vocabulary of a SentencePiece model."""
    learned = SentencePieceUnigramTokenizer()
    how = {"vocab_size": 400, "special_tokens": special, "unk_token": "<unk>", "show_progress": False}
    learned.train_from_iterator(_texts(), **how)
    return [tuple(piece) for piece in json.loads(learned._tokenizer.to_str())["model"]["vocab"]]


def _of_bert(kind: str, folder: Path, tiny_model: Path, **more: int) -> None:
    """Write another encoder with the tiny BERT's tokenizer, which says nothing of how much the model reads."""
    tiny = hf.AutoTokenizer.from_pretrained(tiny_model)
    special = {name: str(token) for name, token in tiny.special_tokens_map.items()}
    tokenizer = hf.PreTrainedTokenizerFast(tokenizer_object=tiny.backend_tokenizer, **special)
    save(
        hf.AutoModel.from_config(hf.AutoConfig.for_model(kind, vocab_size=len(tiny), **SIZES, **more)),
        tokenizer,
        folder,
    )


def electra(folder: Path, tiny_model: Path) -> None:
    """Write an ELECTRA."""
    _of_bert("electra", folder, tiny_model, embedding_size=16)


def deberta(folder: Path, tiny_model: Path) -> None:
    """Write a DeBERTa."""
    _of_bert("deberta-v2", folder, tiny_model, relative_attention=True)


def distilbert(folder: Path, tiny_model: Path) -> None:
    """Write a DistilBERT."""
    _of_bert("distilbert", folder, tiny_model, dim=32, n_layers=2, n_heads=2, hidden_dim=64)


def roberta(folder: Path, _: Path) -> None:
    """Write a RoBERTa, which reads two tokens fewer than it has positions."""
    tokenizer = hf.RobertaTokenizer(**_bytes(folder, ROBERTA))
    save(
        hf.RobertaForMaskedLM(hf.RobertaConfig(vocab_size=len(tokenizer), pad_token_id=1, **SIZES)),
        tokenizer,
        folder,
    )


def gpt2(folder: Path, _: Path) -> None:
    """Write a GPT-2, which has no padding token."""
    tokenizer = hf.GPT2Tokenizer(**_bytes(folder, ["<|endoftext|>"]))
    config = hf.GPT2Config(
        vocab_size=len(tokenizer),
        n_embd=32,
        n_layer=2,
        n_head=2,
        n_positions=64,
        bos_token_id=0,
        eos_token_id=0,
    )
    save(hf.GPT2Model(config), tokenizer, folder)


def llama(folder: Path, _: Path) -> None:
    """Write a Llama, which has no padding token and would pad on the left."""
    learned = hf.GPT2Tokenizer(**_bytes(folder, ["<unk>", "<s>", "</s>"])).backend_tokenizer
    special = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    tokenizer = hf.PreTrainedTokenizerFast(tokenizer_object=learned, **special, padding_side="left")
    save(hf.LlamaForCausalLM(hf.LlamaConfig(vocab_size=len(tokenizer), **SIZES)), tokenizer, folder)


def bart(folder: Path, _: Path) -> None:
    """Write a BART, whose answer is a tuple."""
    tokenizer = hf.RobertaTokenizer(**_bytes(folder, ROBERTA))
    halves = {
        f"{half}_{name}": size
        for half in ("encoder", "decoder")
        for name, size in (("layers", 2), ("attention_heads", 2), ("ffn_dim", 64))
    }
    save(
        hf.BartModel(
            hf.BartConfig(vocab_size=len(tokenizer), d_model=32, max_position_embeddings=64, **halves)
        ),
        tokenizer,
        folder,
    )


def t5(folder: Path, _: Path) -> None:
    """Write a T5, whose answer is a tuple and whose two embeddings are one."""
    tokenizer = hf.T5Tokenizer(vocab=_pieces(["<pad>", "</s>", "<unk>"]), extra_ids=0)
    save(hf.T5Model(hf.T5Config(vocab_size=len(tokenizer), **T5)), tokenizer, folder)


def byt5(folder: Path, _: Path) -> None:
    """Write a ByT5, whose tokenizer reads bytes and needs no vocabulary."""
    tokenizer = hf.ByT5Tokenizer()
    save(hf.T5ForConditionalGeneration(hf.T5Config(vocab_size=len(tokenizer), **T5)), tokenizer, folder)


def xlnet(folder: Path, _: Path) -> None:
    """Write an XLNet, which pads on the left and types its last token."""
    tokenizer = hf.XLNetTokenizer(
        vocab=_pieces(["<unk>", "<s>", "</s>", "<cls>", "<sep>", "<pad>", "<mask>"])
    )
    config = hf.XLNetConfig(
        vocab_size=len(tokenizer),
        d_model=32,
        n_layer=2,
        n_head=2,
        d_inner=64,
        pad_token_id=tokenizer.pad_token_id,
    )
    save(hf.XLNetModel(config), tokenizer, folder)


def canine(folder: Path, _: Path) -> None:
    """Write a CANINE, whose slow tokenizer reads code points and whose model has no embedding of tokens."""
    config = hf.CanineConfig(
        **{**SIZES, "max_position_embeddings": 256}, num_hash_buckets=256, num_hash_functions=4
    )
    save(hf.CanineModel(config), hf.CanineTokenizer(), folder)


FAMILIES: tuple[Callable[[Path, Path], None], ...] = (
    bart, byt5, canine, deberta, distilbert, electra, gpt2, llama, roberta, t5, xlnet,
)  # fmt: skip


def make(family: Callable[[Path, Path], None], folder: Path, tiny_model: Path) -> Path:
    """Write a base model of a family into a folder and return it."""
    torch.manual_seed(0)
    family(folder, tiny_model)
    return folder


# sizes of models from scratch, and the tokenizer that each is given
LIKE_BERT = {name: size for name, size in SIZES.items() if name != "max_position_embeddings"}
HALVES = {
    f"{half}_{name}": size
    for half in ("encoder", "decoder")
    for name, size in (("layers", 2), ("attention_heads", 2), ("ffn_dim", 64))
}
FROM_SCRATCH: dict[str, tuple[dict[str, int], str]] = {
    "bart": ({"d_model": 32, **HALVES}, "bpe"),
    "bert": (LIKE_BERT, "wordpiece"),
    "canine": ({**LIKE_BERT, "num_hash_buckets": 256, "num_hash_functions": 4}, "code_point"),
    "deberta-v2": (LIKE_BERT, "unigram"),
    "distilbert": ({"dim": 32, "n_layers": 2, "n_heads": 2, "hidden_dim": 64}, "wordpiece"),
    "electra": ({**LIKE_BERT, "embedding_size": 16}, "character"),
    "gpt2": ({"n_embd": 32, "n_layer": 2, "n_head": 2}, "bpe"),
    "llama": (LIKE_BERT, "character"),
    "roberta": (LIKE_BERT, "unigram"),
    "t5": (T5, "unigram"),
    "umt5": (T5, "unigram"),
    "xlnet": ({"d_model": 32, "n_layer": 2, "n_head": 2, "d_inner": 64}, "unigram"),
}
