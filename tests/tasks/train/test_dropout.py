"""Dropout by 16-bit draws does what torch's own does, and leaves no trace in what is saved."""

import json
from functools import partial
from pathlib import Path

import pytest
import torch
from transformers import BertConfig, BertForSequenceClassification, GPT2Config, GPT2ForSequenceClassification
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from tasks.train.cpu.dropout import ATTENTION, attention, drop, quicken
from tests.support.tiny import SIZES


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_a_share_p_is_dropped_everywhere_alike_and_the_rest_scaled(p: float, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    # not a multiple of four
    x = torch.ones(400, 1001, dtype=dtype, requires_grad=True)
    y = drop(x, p)
    kept = y != 0
    assert y.detach().unique().tolist() == pytest.approx([0, 1 / (1 - p)], rel=0.005)
    assert kept.float().mean().item() == pytest.approx(1 - p, abs=0.003)
    # the four that share a draw
    lanes = kept.flatten()[:400_400].view(-1, 4).float().mean(0)
    assert lanes.tolist() == pytest.approx([1 - p] * 4, abs=0.006)
    assert torch.corrcoef(kept.flatten()[:400_400].view(-1, 4).float().T).fill_diagonal_(0).abs().max() < 0.02
    y.sum().backward()
    assert x.grad is not None
    assert torch.equal(x.grad, y.detach())


def test_the_seed_decides() -> None:
    x = torch.ones(1000)
    torch.manual_seed(1)
    first, second = drop(x, 0.5), drop(x, 0.5)
    torch.manual_seed(1)
    assert torch.equal(drop(x, 0.5), first)
    assert not torch.equal(first, second)


def test_in_bf16_attention_is_that_of_fp32() -> None:
    torch.manual_seed(0)
    query, key, value = torch.randn(3, 4, 2, 6, 8).unbind()
    module = torch.nn.Module()
    module.is_causal = False  # type: ignore[assignment]
    expected, _ = sdpa_attention_forward(module, query, key, value, None)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found, _ = attention(module, query.bfloat16(), key.bfloat16(), value.bfloat16(), None, dropout=1e-9)
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found.float(), expected, atol=0.03, rtol=0)


def test_attention_is_sdpa_but_for_the_dropped() -> None:
    torch.manual_seed(0)
    query, key, value = torch.randn(3, 4, 2, 6, 8).unbind()
    module = torch.nn.Module()
    module.is_causal = False  # type: ignore[assignment]
    hidden = torch.ones(4, 1, 6, 6, dtype=torch.bool)
    hidden[1, :, :, 3:] = False
    additive = torch.zeros(4, 1, 6, 6).masked_fill(~hidden, -1e9)
    draws = 3000
    for mask in (None, hidden, additive):
        for scaling in (None, 0.2):
            expected, _ = sdpa_attention_forward(module, query, key, value, mask, scaling=scaling)
            rows = (query, key, value, mask)
            again = (None if its is None else its.repeat(draws, 1, 1, 1) for its in rows)
            attend = partial(attention, module, *again, scaling=scaling)
            torch.testing.assert_close(attend(dropout=1e-9)[0][-4:], expected)
            many = attend(dropout=0.3)[0].unflatten(0, (draws, 4))
            # standard errors
            assert ((many.mean(0) - expected).abs() < 5 * many.std(0) / len(many) ** 0.5).all()
            assert many.std(0).min() > 0.01


def test_a_quickened_model_trains_and_is_saved_as_it_was(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = BertForSequenceClassification(BertConfig(**SIZES))
    plain = BertForSequenceClassification(BertConfig(**SIZES))
    plain.load_state_dict(model.state_dict())
    quicken(model)
    assert model.config._attn_implementation == ATTENTION
    assert not any(type(module) is torch.nn.Dropout for module in model.modules())
    ids = torch.tensor([[1, 2, 3, 4], [5, 6, 0, 0]])
    inputs = {"input_ids": ids, "attention_mask": (ids > 0).long()}
    torch.testing.assert_close(model.eval()(**inputs).logits, plain.eval()(**inputs).logits, atol=0, rtol=0)
    for trained in (model, plain):
        trained.train()(**inputs, labels=torch.tensor([0, 1])).loss.backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
    for folder, saved in (("quick", model), ("plain", plain)):
        saved.save_pretrained(tmp_path / folder)
    quick, other = ((tmp_path / folder / "config.json").read_text("utf-8") for folder in ("quick", "plain"))
    assert json.loads(quick) == json.loads(other)


def test_a_causal_model_stays_causal() -> None:
    torch.manual_seed(0)
    sizes = {"vocab_size": 50, "n_embd": 16, "n_layer": 1, "n_head": 2, "pad_token_id": 0}
    model = GPT2ForSequenceClassification(GPT2Config(**sizes, embd_pdrop=0, resid_pdrop=0, attn_pdrop=1e-9))
    ids = torch.tensor([[1, 2, 3, 4], [5, 6, 0, 0]])
    expected = model.train()(input_ids=ids, attention_mask=(ids > 0).long()).logits
    quicken(model)
    torch.testing.assert_close(model.train()(input_ids=ids, attention_mask=(ids > 0).long()).logits, expected)
    without_mask = model.transformer(input_ids=ids).last_hidden_state
    changed = model.transformer(input_ids=torch.tensor([[1, 2, 9, 9], [5, 6, 9, 9]])).last_hidden_state
    torch.testing.assert_close(changed[:, :2], without_mask[:, :2])


def _gradients(model: BertForSequenceClassification) -> dict[str, torch.Tensor | None]:
    torch.manual_seed(1)
    ids = torch.tensor([[1, 2, 3, 4], [5, 6, 0, 0]])
    model(input_ids=ids, attention_mask=(ids > 0).long(), labels=torch.tensor([0, 1])).loss.backward()
    return {name: weight.grad for name, weight in model.named_parameters()}


def test_activations_that_are_computed_twice_drop_the_same() -> None:
    torch.manual_seed(0)
    model = BertForSequenceClassification(BertConfig(**SIZES)).train()
    quicken(model)
    expected = _gradients(model)
    model.zero_grad()
    model.gradient_checkpointing_enable({"use_reentrant": False})
    torch.testing.assert_close(_gradients(model), expected)


@pytest.mark.slow
def test_what_is_compiled_drops_the_same() -> None:
    x = torch.randn(3, 2, 5, 8)
    module = torch.nn.Module()
    module.is_causal = False  # type: ignore[assignment]
    for run in (partial(drop, x, 0.3), partial(attention, module, x, x, x, None, 0.3)):
        torch.manual_seed(1)
        expected = run()
        torch.manual_seed(1)
        torch.testing.assert_close(torch.compile(run, backend="aot_eager")(), expected)
