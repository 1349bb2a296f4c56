"""Queries, keys and values made in one product: the same answers and gradients, and the same state dict."""

import pytest
import torch
from transformers import (
    AutoModelForSequenceClassification,
    BertConfig,
    BertForSequenceClassification,
    DistilBertConfig,
    LlamaConfig,
    PreTrainedConfig,
    PreTrainedModel,
    T5Config,
    ViTConfig,
    ViTForImageClassification,
)

from tasks.train.cpu.projections import Joint, JointLinear, join
from tests.support.tiny import NO_DROPOUT, SIZES

IDS = torch.tensor([[2, 7, 3, 7, 9, 4], [5, 6, 8, 1, 1, 1]])


def joined(model: PreTrainedModel) -> int:
    return sum(type(module) is JointLinear for module in model.modules())


def gradients(model: PreTrainedModel) -> dict[str, torch.Tensor | None]:
    model.zero_grad()
    model(input_ids=IDS, attention_mask=(IDS != 1).long(), labels=torch.tensor([0, 1])).loss.backward()
    return {name: parameter.grad for name, parameter in model.named_parameters()}


@pytest.mark.parametrize(
    "config",
    [
        BertConfig(**SIZES, **NO_DROPOUT, pad_token_id=1),
        DistilBertConfig(vocab_size=50, dim=16, n_layers=2, n_heads=2, hidden_dim=32, dropout=0, attention_dropout=0, seq_classif_dropout=0),
        LlamaConfig(**SIZES, num_key_value_heads=1, pad_token_id=1),  # keys and values are narrower, and there is no bias
    ],
)
def test_answers_gradients_and_state_are_the_same(config: PreTrainedConfig) -> None:
    torch.manual_seed(0)
    model = AutoModelForSequenceClassification.from_config(config).train()
    expected, state = gradients(model), model.state_dict()
    generator = torch.get_rng_state()
    join(model)
    assert torch.equal(torch.get_rng_state(), generator)
    assert joined(model) == 6
    torch.testing.assert_close(gradients(model), expected)
    assert list(model.state_dict()) == list(state)
    torch.testing.assert_close(model.state_dict(), state, rtol=0, atol=0)


def test_images_too() -> None:
    torch.manual_seed(0)
    model = ViTForImageClassification(
        ViTConfig(hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32, image_size=32)
    ).eval()
    pixels = torch.randn(2, 3, 32, 32)
    expected = model(pixels).logits
    join(model)
    assert joined(model) == 6
    torch.testing.assert_close(model(pixels).logits, expected)


@pytest.mark.parametrize(
    "model",
    [
        AutoModelForSequenceClassification.from_config(
            T5Config(vocab_size=50, d_model=16, d_kv=8, d_ff=32, num_layers=1, num_heads=2, pad_token_id=1, decoder_start_token_id=1)
        ),
        BertForSequenceClassification(BertConfig(**SIZES, is_decoder=True, add_cross_attention=True)),
    ],
)
def test_cross_attention_is_left_alone(model: PreTrainedModel) -> None:
    join(model)
    assert joined(model) == 0


def test_other_inputs_get_products_of_their_own() -> None:
    torch.manual_seed(0)
    joint = Joint()
    query, key = (JointLinear(torch.nn.Linear(3, 2), joint) for _ in range(2))
    x, y = torch.randn(2, 4, 3)
    for layer, given in ((query, x), (key, y), (query, x), (query, x), (key, x), (key, y)):
        torch.testing.assert_close(layer(given), torch.nn.functional.linear(given, layer.weight, layer.bias))
    query(y)
    assert (joint.given, joint.made) == (None, {}), "nothing is kept that nobody can ask for"
