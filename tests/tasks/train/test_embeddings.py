"""A token embedding whose trained rows are those that occur: trained and saved as the whole is."""

from typing import Any

import pytest
import torch
from datasets import Dataset
from safetensors.torch import load_file
from tokenizers import Tokenizer, models
from transformers import (
    BartConfig,
    BartForConditionalGeneration,
    BertConfig,
    BertForMaskedLM,
    BertForSequenceClassification,
    GPT2Config,
    GPT2ForSequenceClassification,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

from tasks.train.cpu.embeddings import NarrowEmbedding, narrow, occurring
from tests.support.tiny import NO_DROPOUT, SIZES

CONFIG = BertConfig(**SIZES, **NO_DROPOUT)
IDS = torch.tensor([[1, 7, 3, 7], [5, 6, 0, 0]])
USED = {0, 1, 3, 5, 6, 7, 9}
TABLE = "bert.embeddings.word_embeddings.weight"


def fresh() -> BertForSequenceClassification:
    torch.manual_seed(0)
    return BertForSequenceClassification(CONFIG)


def train(model: PreTrainedModel, steps: int = 3) -> torch.optim.Optimizer:
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=0.01, weight_decay=0.1)
    model.train()
    for _ in range(steps):
        model(input_ids=IDS, attention_mask=(IDS > 0).long(), labels=torch.tensor([0, 1])).loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
    return optimizer


def test_the_rows_that_occur_are_trained_as_they_would_be_and_the_others_stay() -> None:
    whole, narrowed = fresh(), fresh()
    before = whole.state_dict()[TABLE].clone()
    narrow(narrowed, USED)
    train(whole)
    train(narrowed)
    expected, found = whole.state_dict(), narrowed.state_dict()
    assert list(found) == list(expected)
    used = sorted(USED)
    for name, values in expected.items():
        rows = used if name == TABLE else slice(None)
        torch.testing.assert_close(found[name][rows], values[rows], msg=name)
    others = sorted(set(range(50)) - USED)
    assert torch.equal(found[TABLE][others], before[others])
    assert not torch.equal(found[TABLE][7], before[7])


def test_the_optimizer_holds_nothing_for_rows_that_do_not_occur() -> None:
    model = fresh()
    narrow(model, USED)
    shapes = [tuple(state["exp_avg"].shape) for state in train(model).state_dict()["state"].values()]
    assert (len(USED), 16) in shapes
    assert (50, 16) not in shapes


def test_what_is_saved_is_what_a_plain_model_loads(tmp_path: Any) -> None:
    model = fresh()
    narrow(model, USED)
    train(model)
    model.save_pretrained(tmp_path)
    assert "bert.embeddings.word_embeddings.trained" not in load_file(tmp_path / "model.safetensors")
    again = BertForSequenceClassification.from_pretrained(tmp_path)
    unseen = torch.tensor([[40, 7, 41, 42]])
    torch.testing.assert_close(again.eval()(unseen).logits, model.eval()(unseen).logits)


def test_a_state_dict_that_is_loaded_is_trained_on() -> None:
    first, second = fresh(), fresh()
    for model in (first, second):
        narrow(model, USED)
    train(first)
    missing = second.load_state_dict({name: values.clone() for name, values in first.state_dict().items()})
    assert not missing.missing_keys
    assert not missing.unexpected_keys
    for model in (first, second):
        train(model)
    torch.testing.assert_close(first.state_dict(), second.state_dict())


def test_a_token_that_was_not_named_is_an_error_in_training_only() -> None:
    model = fresh()
    narrow(model, USED)
    model.eval()(torch.tensor([[2]]))
    with pytest.raises(IndexError):
        model.train()(torch.tensor([[2]]))


def test_a_special_token_that_the_model_never_had_is_passed_over() -> None:
    model = fresh()
    narrow(model, USED | {50})
    train(model, 1)


def test_an_embedding_that_is_the_output_layer_too_is_left_alone() -> None:
    tied = BertForMaskedLM(BertConfig(**SIZES))
    narrow(tied, USED)
    assert type(tied.get_input_embeddings()) is torch.nn.Embedding


def test_an_embedding_beside_an_output_layer_of_its_own_is_left_alone_since_labels_may_be_token_ids() -> None:
    untied = BertForMaskedLM(BertConfig(**SIZES, tie_word_embeddings=False))
    narrow(untied, USED)
    assert type(untied.get_input_embeddings()) is torch.nn.Embedding
    halves = dict.fromkeys(("encoder_attention_heads", "decoder_attention_heads"), 1)
    translates = BartForConditionalGeneration(BartConfig(vocab_size=50, d_model=16, **halves))
    narrow(translates, USED)
    translates.train()(input_ids=IDS, labels=torch.tensor([[40, 41], [42, 43]])).loss.backward()


def test_the_ids_are_those_of_the_rows_and_of_the_special_tokens() -> None:
    special = {"unk_token": "word0", "pad_token": "word9"}
    words = Tokenizer(models.WordLevel({f"word{number}": number for number in range(50)}))
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, **special)
    rows = Dataset.from_dict({"input_ids": [[1, 7, 3, 7], [5, 6]], "labels": [20, 21]})
    assert occurring(rows, tokenizer) == {0, 1, 3, 5, 6, 7, 9}


def test_a_frozen_embedding_stays_frozen() -> None:
    model = fresh()
    model.get_input_embeddings().weight.requires_grad_(False)
    before = model.state_dict()[TABLE].clone()
    narrow(model, USED)
    train(model)
    assert torch.equal(model.state_dict()[TABLE], before)


def test_a_narrowed_table_that_was_frozen_is_frozen() -> None:
    table = torch.nn.Embedding(50, 16).requires_grad_(False)
    assert not any(weight.requires_grad for weight in NarrowEmbedding(table, sorted(USED)).parameters())


def test_a_model_of_another_build_is_narrowed_too() -> None:
    config = GPT2Config(vocab_size=50, n_embd=16, n_layer=1, n_head=2, pad_token_id=0)
    model = GPT2ForSequenceClassification(config)
    names = list(model.state_dict())
    narrow(model, USED)
    assert type(model.get_input_embeddings()) is NarrowEmbedding
    train(model, 1)
    assert list(model.state_dict()) == names
