"""What computes attention, and rows one behind the other: the same numbers as with padding, or a sentence."""

from typing import Any

import pytest
import torch
from transformers import BertConfig, BertForSequenceClassification, LlamaConfig, LlamaForCausalLM

from tasks import problems
from tasks.problems.text_generation.batches import collated, flat
from tasks.shared.errors import InputError
from tasks.shared.params import Params
from tasks.train import attention
from tests.support.tiny import SIZES

ROWS = [
    {"input_ids": list(ids), "labels": list(ids)}
    for ids in ([5, 6, 7, 8, 9, 10], [11, 12, 13], [14, 15, 16, 17], [18, 19])
]
# documents that lie side by side in a row already
SIDE_BY_SIDE = [
    {"input_ids": [5, 6, 7, 8, 9], "labels": [5, 6, 7, -100, 9], "position_ids": [0, 1, 2, 0, 1]},
    {"input_ids": [11, 12, 13], "labels": [11, 12, 13], "position_ids": [0, 1, 2]},
]


@pytest.mark.parametrize("kind", ["eager", "sdpa"])
@pytest.mark.parametrize("rows", [ROWS, SIDE_BY_SIDE])
def test_rows_one_behind_the_other_have_the_loss_and_gradients_of_padded_rows(
    kind: str, rows: list[dict[str, Any]]
) -> None:
    torch.manual_seed(0)
    # as the Trainer sets it: where a cache is kept, positions make no mask
    model = LlamaForCausalLM(LlamaConfig(**SIZES, use_cache=False))
    attention.choose(model, kind, "fp32")
    found = []
    for batch in (collated(rows, 0), flat(rows)):
        model.zero_grad()
        items = batch["labels"][:, 1:].ne(-100).sum()
        loss = model(**batch, num_items_in_batch=items).loss
        loss.backward()
        found.append((int(items), loss.item(), model.model.layers[0].self_attn.q_proj.weight.grad.clone()))
    (padded, loss, gradient), (items, its_loss, its_gradient) = found
    assert items == padded
    assert its_loss == pytest.approx(loss, rel=1e-5)
    assert torch.allclose(its_gradient, gradient, atol=1e-6)


def test_only_a_language_model_has_rows_one_behind_the_other() -> None:
    params = Params()
    with pytest.raises(InputError, match=r"train\.padding_free: text-classification has one answer per row"):
        problems.load(params.problem, params.own).flat_collator()


def test_attention_is_chosen_for_training_and_not_kept_in_the_config() -> None:
    model = BertForSequenceClassification(BertConfig(**SIZES))
    for kind in ("eager", "sdpa"):
        attention.choose(model, kind, "fp32")
        assert model.config._attn_implementation == kind
        assert "attn_implementation" not in model.config.to_json_string()


def test_flash_attention_without_what_it_needs_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    model = BertForSequenceClassification(BertConfig(**SIZES))
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(InputError, match="flash_attention_2 needs a CUDA device and there is none"):
        attention.choose(model, attention.FLASH, "bf16")
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    with pytest.raises(InputError, match="computes in bf16 or fp16; set train"):
        attention.choose(model, attention.FLASH, "fp32")


def test_a_model_without_that_attention_is_a_sentence() -> None:
    from transformers import ConvBertConfig, ConvBertModel

    sizes = {**SIZES, "head_ratio": 1, "num_groups": 1, "embedding_size": 16}
    with pytest.raises(InputError, match=r"train\.attn_implementation: ConvBertModel .* set it to auto"):
        attention.choose(ConvBertModel(ConvBertConfig(**sizes)), "sdpa", "fp32")
