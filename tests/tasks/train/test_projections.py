"""Queries, keys and values made in one product: the same answers, gradients and state, and nothing kept."""

import copy
import weakref
from typing import Any

import pytest
import torch
from transformers import (
    AutoModelForSequenceClassification,
    BertConfig,
    DistilBertConfig,
    ElectraConfig,
    PreTrainedConfig,
    PreTrainedModel,
    RobertaConfig,
)

from tasks.train.cpu.projections import Joint, join
from tests.support.tiny import NO_DROPOUT, SIZES

IDS = torch.tensor([[2, 7, 3, 7, 9, 4], [5, 6, 8, 1, 1, 1]])
DISTIL = {"dim": 16, "n_layers": 2, "n_heads": 2, "hidden_dim": 32}
DISTIL |= {"dropout": 0, "attention_dropout": 0, "seq_classif_dropout": 0}


def model(config: PreTrainedConfig) -> PreTrainedModel:
    torch.manual_seed(0)
    made: PreTrainedModel = AutoModelForSequenceClassification.from_config(config)
    return made.train()


def bert() -> PreTrainedModel:
    return model(BertConfig(**SIZES, **NO_DROPOUT, pad_token_id=1))


def joined(made: PreTrainedModel) -> list[Joint]:
    return [module for module in made.modules() if isinstance(module, Joint)]


def gradients(made: PreTrainedModel) -> dict[str, torch.Tensor | None]:
    made.zero_grad()
    made(input_ids=IDS, attention_mask=(IDS != 1).long(), labels=torch.tensor([0, 1])).loss.backward()
    return {name: weight.grad for name, weight in made.named_parameters()}


@pytest.mark.parametrize(
    "config",
    [
        BertConfig(**SIZES, **NO_DROPOUT, pad_token_id=1),
        ElectraConfig(**SIZES, **NO_DROPOUT, pad_token_id=1, embedding_size=8),
        RobertaConfig(**SIZES, **NO_DROPOUT, pad_token_id=1),
        DistilBertConfig(vocab_size=50, pad_token_id=1, **DISTIL),
    ],
    ids=lambda config: config.model_type,
)
def test_answers_gradients_and_state_are_the_same(config: PreTrainedConfig) -> None:
    made = model(config)
    expected, state = gradients(made), copy.deepcopy(made.state_dict())
    generator = torch.get_rng_state()
    join(made)
    assert torch.equal(torch.get_rng_state(), generator)
    assert len(joined(made)) == 2
    torch.testing.assert_close(gradients(made), expected)
    assert list(made.state_dict()) == list(state)
    torch.testing.assert_close(made.state_dict(), state, rtol=0, atol=0)


def test_nothing_of_a_pass_is_kept() -> None:
    made = bert()
    join(made)
    attention = joined(made)[0]
    before = {**vars(attention)}
    states = torch.randn(2, 5, 16)
    gone = weakref.ref(states)
    attention(states)
    del states
    assert gone() is None
    assert vars(attention) == before


def test_a_pass_that_broke_off_and_states_that_were_changed_in_place_leave_no_trace() -> None:
    made = bert()
    plain = copy.deepcopy(made)
    join(made)
    attention, same = joined(made)[0], plain.bert.encoder.layer[0].attention.self
    states = torch.randn(2, 5, 16)

    def breaks_off(*_: Any) -> None:
        raise KeyboardInterrupt

    hook = attention.register_forward_hook(breaks_off)
    with pytest.raises(KeyboardInterrupt):
        attention(states)
    hook.remove()
    states.mul_(2)
    torch.testing.assert_close(attention(states)[0], same(states)[0])


def test_a_copy_is_joined_too_and_by_its_own_weights() -> None:
    made = bert()
    join(made)
    other = copy.deepcopy(made)
    with torch.no_grad():
        for weight in other.parameters():
            weight.mul_(0.5)
    assert len(joined(other)) == 2
    assert not torch.equal(other(IDS).logits, made(IDS).logits)


def test_weights_that_are_loaded_or_trained_count_at_once() -> None:
    made, plain = bert(), bert()
    join(made)
    state = {name: values + 0.1 for name, values in plain.state_dict().items()}
    for each in (made, plain):
        each.load_state_dict(state)
    torch.testing.assert_close(made(IDS).logits, plain(IDS).logits)
