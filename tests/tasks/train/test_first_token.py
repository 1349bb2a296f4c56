"""The last layer without the tokens that the head does not read: the same answers and the same gradients."""

import pytest
import torch
from transformers import (
    AutoModelForSequenceClassification,
    BertConfig,
    DistilBertConfig,
    ElectraConfig,
    PreTrainedConfig,
    RobertaConfig,
    XLMRobertaConfig,
)

from tasks.train.cpu.first_token import narrow
from tests.support.tiny import NO_DROPOUT, SIZES

IDS = torch.tensor([[2, 7, 3, 7, 9, 4], [5, 6, 8, 1, 1, 1]])


@pytest.mark.parametrize("config", [BertConfig, RobertaConfig, ElectraConfig, XLMRobertaConfig])
def test_answers_and_gradients_are_the_same_of_one_token(config: type[PreTrainedConfig]) -> None:
    torch.manual_seed(0)
    settings = config(**SIZES, **NO_DROPOUT, pad_token_id=1)
    model = AutoModelForSequenceClassification.from_config(settings).train()
    given = {"input_ids": IDS, "attention_mask": (IDS != 1).long(), "labels": torch.tensor([0, 1])}

    def gradients() -> dict[str, torch.Tensor]:
        model.zero_grad()
        model(**given).loss.backward()
        return {name: weight.grad for name, weight in model.named_parameters() if weight.grad is not None}

    answers, expected = model(**given).logits, gradients()
    lengths: list[tuple[int, ...]] = []
    for layer in model.base_model.encoder.layer:
        layer.intermediate.register_forward_hook(lambda _module, given, _made: lengths.append(given[0].shape))
    narrow(model)
    torch.testing.assert_close(gradients(), expected)
    assert lengths == [(2, 6, 16), (2, 1, 16)]
    torch.testing.assert_close(model(**given).logits, answers)


def test_a_model_whose_layers_are_built_otherwise_is_left_as_it_is() -> None:
    config = DistilBertConfig(vocab_size=50, dim=16, n_layers=2, n_heads=2, hidden_dim=32)
    model = AutoModelForSequenceClassification.from_config(config)
    narrow(model)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
