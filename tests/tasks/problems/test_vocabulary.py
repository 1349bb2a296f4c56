"""Tokenizers learned from texts: equal texts give equal bytes, what is read can be told again, AutoTokenizer loads them."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import transformers as hf

from tasks.problems.common import pretrained
from tasks.problems.common.vocabulary import learn
from tasks.shared import base_models
from tasks.shared.errors import InputError
from tasks.shared.files import digests
from tasks.shared.params import Model, Tokenize
from tests.support.project import ROOT
from tests.support.way import TICKETS

LEARNED = ("bpe", "wordpiece", "unigram", "character")
TEXT = "Where is my order 4711, it never arrived?"


def texts() -> Iterator[list[str]]:
    for some in pl.read_csv(TICKETS).iter_slices(500):
        yield some["text"].to_list()


def made(kind: str, model: str = "bert", **more: Any) -> Any:
    train = {"kind": kind, "vocab_size": 500, "lowercase": more.pop("lowercase", False)}
    return learn(Tokenize(train=train, **more), model, texts, None)


@pytest.mark.slow
def test_equal_texts_give_equal_bytes_in_other_processes(tmp_path: Path) -> None:
    """Hash maps begin with another number in each."""
    code = """
import sys
from tests.tasks.problems.test_vocabulary import LEARNED, made
for kind in LEARNED:
    made(kind).save_pretrained(f"{sys.argv[1]}/{kind}")
"""
    for kind in LEARNED:
        made(kind).save_pretrained(tmp_path / "here" / kind)
    for name in ("first", "second"):
        subprocess.run([sys.executable, "-c", code, tmp_path / name], check=True, cwd=ROOT)
    assert digests(tmp_path / "here") == digests(tmp_path / "first") == digests(tmp_path / "second")


@pytest.mark.parametrize("kind", LEARNED)
def test_auto_tokenizer_loads_it_as_it_was(tmp_path: Path, kind: str) -> None:
    first = made(kind)
    first.save_pretrained(tmp_path)
    hf.BertConfig().save_pretrained(tmp_path)
    again = hf.AutoTokenizer.from_pretrained(tmp_path)
    assert again.is_fast
    assert len(again) <= 500
    assert again(TEXT, "and why?") == first(TEXT, "and why?")
    assert again.special_tokens_map == first.special_tokens_map
    assert again.model_max_length == 128


@pytest.mark.parametrize("kind", LEARNED)
def test_it_splits_what_it_has_read_without_an_unknown_token(kind: str) -> None:
    tokenizer = made(kind)
    ids = tokenizer(TEXT)["input_ids"]
    assert tokenizer.unk_token_id not in ids
    assert len(ids) < len(TEXT) + 3
    assert tokenizer.decode(ids, skip_special_tokens=True).replace(" ", "") == TEXT.replace(" ", "")


@pytest.mark.parametrize("kind", ["bpe", "unigram"])
def test_letters_that_were_never_read_become_bytes(kind: str) -> None:
    tokenizer = made(kind, "t5")
    ids = tokenizer("naïve 日本 😀")["input_ids"]
    assert tokenizer.unk_token_id not in ids
    assert tokenizer.decode(ids, skip_special_tokens=True) == "naïve 日本 😀"


@pytest.mark.parametrize("kind", ["wordpiece", "character"])
def test_letters_that_were_never_read_are_unknown(kind: str) -> None:
    tokenizer = made(kind)
    assert tokenizer.unk_token_id in tokenizer("日")["input_ids"]


def test_a_decoder_reads_just_the_text_and_gets_it_back() -> None:
    for kind in ("bpe", "character"):
        tokenizer = made(kind, "gpt2")
        ids = tokenizer("order  me\nthis")["input_ids"]
        assert not {tokenizer.pad_token_id, tokenizer.eos_token_id} & set(ids)
        assert tokenizer.decode(ids) == "order  me\nthis"


@pytest.mark.parametrize(
    ("model", "first", "last"),
    [
        ("bert", "[CLS]", "[SEP]"),
        ("roberta", "<s>", "</s>"),
        ("bart", "<s>", "</s>"),
        ("xlnet", None, "<cls>"),
        ("t5", None, "</s>"),
    ],
)
def test_special_tokens_are_those_of_the_model_type(model: str, first: str | None, last: str) -> None:
    tokenizer = made("unigram", model)
    tokens = tokenizer.convert_ids_to_tokens(tokenizer(TEXT)["input_ids"])
    assert tokens[-1] == last
    assert first is None or tokens[0] == first
    assert tokenizer.pad_token_id is not None
    assert tokenizer.padding_side == ("left" if model == "xlnet" else "right")


def test_offsets_are_of_words_without_the_blank_before_them() -> None:
    for kind in ("bpe", "wordpiece"):
        found = made(kind)(TEXT, return_offsets_mapping=True)
        pieces = [TEXT[start:end] for start, end in found["offset_mapping"] if end > start]
        assert "".join(pieces) == TEXT.replace(" ", "")


def test_a_text_that_spells_the_end_token_makes_no_other_one_where_a_decoder_reads_it() -> None:
    tokenizer = made("bpe", "bart")
    assert tokenizer("</s> is an end tag")["input_ids"].count(tokenizer.eos_token_id) == 1


def test_small_letters_are_read_for_capitals() -> None:
    for kind in LEARNED:
        tokenizer = made(kind, lowercase=True)
        assert tokenizer("ORDER")["input_ids"] == tokenizer("order")["input_ids"]


def test_special_tokens_of_ones_own_are_never_split() -> None:
    for kind in LEARNED:
        tokenizer = made(kind, special_tokens=["<|user|>"])
        assert tokenizer.convert_ids_to_tokens(tokenizer("<|user|>hello")["input_ids"]).count("<|user|>") == 1


def test_bytes_and_code_points_learn_nothing() -> None:
    assert type(made("byte")).__name__ == "ByT5Tokenizer"
    assert made("byte").mask_token == "<mask>"  # noqa: S105
    assert type(made("code_point", "canine")).__name__ == "CanineTokenizer"


def test_texts_without_a_letter_are_refused() -> None:
    train = {"kind": "character", "vocab_size": 500}
    with pytest.raises(InputError, match="holds no letter to learn"):
        learn(Tokenize(train=train), "bert", lambda: iter([[]]), None)


def test_one_that_transformers_does_not_load_beside_a_model_type_is_refused() -> None:
    base = base_models.fetch(Model(name=None, from_scratch={"type": "umt5", "d_model": 32, "num_layers": 1}))
    with pytest.raises(InputError) as told:
        pretrained.processor(base, Tokenize(train={"kind": "byte"}), "AutoModelForSeq2SeqLM", texts)
    said = "transformers loads no ByT5Tokenizer beside a umt5 model; set another kind, such as bpe or unigram"
    assert str(told.value) == f"tokenize.train.kind: {said}"
