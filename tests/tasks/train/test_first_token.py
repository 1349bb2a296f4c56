"""The last layer without the tokens that the head does not read: the same answers and the same gradients, where the head is of that kind."""

import pytest
import torch
from transformers import (
    AutoModelForSequenceClassification,
    BertConfig,
    BertForMultipleChoice,
    BertForQuestionAnswering,
    BertForTokenClassification,
    DebertaV2Config,
    DistilBertConfig,
    ElectraConfig,
    GPT2Config,
    PreTrainedConfig,
    PreTrainedModel,
    RobertaConfig,
)

from tasks.train.cpu.first_token import _is_same, narrow
from tests.support.tiny import NO_DROPOUT, SIZES

IDS = torch.tensor([[2, 7, 3, 7, 9, 4], [5, 6, 8, 1, 1, 1]])


def hooks(model: PreTrainedModel) -> int:
    return sum(len(module._forward_hooks) + len(module._forward_pre_hooks) for module in model.modules())


@pytest.mark.parametrize("config", [BertConfig, RobertaConfig, ElectraConfig, DebertaV2Config])
def test_answers_and_gradients_are_the_same(config: type[PreTrainedConfig]) -> None:
    torch.manual_seed(0)
    model = AutoModelForSequenceClassification.from_config(config(**SIZES, **NO_DROPOUT, pad_token_id=1)).train()
    given = {"input_ids": IDS, "attention_mask": (IDS != 1).long(), "labels": torch.tensor([0, 1])}

    def gradients() -> dict[str, torch.Tensor]:
        model.zero_grad()
        model(**given).loss.backward()
        return {name: parameter.grad for name, parameter in model.named_parameters() if parameter.grad is not None}

    expected = gradients()
    lengths: list[int] = []
    layer = next(module for name, module in model.named_modules() if name.endswith("layer.1.intermediate"))
    layer.register_forward_hook(lambda _module, given, _made: lengths.append(given[0].shape[1]))
    narrow(model)
    assert model.training
    torch.testing.assert_close(gradients(), expected)
    assert lengths[-1] == 1


def test_the_generator_of_random_numbers_is_left_where_it_was() -> None:
    model = AutoModelForSequenceClassification.from_config(BertConfig(**SIZES))
    state = torch.get_rng_state()
    narrow(model.train())
    assert torch.equal(torch.get_rng_state(), state)


def test_a_head_that_reads_the_mean_of_all_tokens_keeps_them() -> None:
    class Mean(torch.nn.Module):
        def forward(self, hidden: torch.Tensor) -> torch.Tensor:
            return hidden.mean(1)

    model = AutoModelForSequenceClassification.from_config(BertConfig(**SIZES))
    model.bert.pooler = Mean()
    before = hooks(model)
    narrow(model)
    assert hooks(model) == before


def test_a_head_that_starts_at_zero_and_tells_nothing_of_what_it_reads_keeps_all_tokens() -> None:
    class Mean(torch.nn.Module):
        def forward(self, hidden: torch.Tensor) -> torch.Tensor:
            return hidden.mean(1)

    model = AutoModelForSequenceClassification.from_config(BertConfig(**SIZES))
    model.bert.pooler = Mean()
    torch.nn.init.zeros_(model.classifier.weight)
    before = hooks(model)
    narrow(model)
    assert hooks(model) == before


def test_an_answer_of_another_shape_is_not_the_same() -> None:
    before = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    assert _is_same(before + 1e-6, before)
    assert not _is_same(before[:, None] + torch.zeros(2, 1, 2), before)
    assert not _is_same(before * float("nan"), before)


@pytest.mark.parametrize("kind", [BertForTokenClassification, BertForQuestionAnswering, BertForMultipleChoice])
def test_a_head_that_reads_all_tokens_keeps_them(kind: type[PreTrainedModel]) -> None:
    model = kind(BertConfig(**SIZES)).train()
    before = hooks(model)
    narrow(model)
    assert hooks(model) == before
    assert model.training


@pytest.mark.parametrize(
    "config",
    [
        GPT2Config(vocab_size=50, n_embd=16, n_layer=2, n_head=2, pad_token_id=1),
        DistilBertConfig(vocab_size=50, dim=16, n_layers=2, n_heads=2, hidden_dim=32),
    ],
)
def test_a_model_that_is_not_built_like_bert_is_left_alone(config: PreTrainedConfig) -> None:
    model = AutoModelForSequenceClassification.from_config(config)
    before = hooks(model)
    narrow(model)
    assert hooks(model) == before
