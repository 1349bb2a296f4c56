"""What reaches into a model from inside does so in the kinds that it was tried on, and trains them as they are; in no other."""

import pytest
import torch
from transformers import AutoConfig, AutoModelForSequenceClassification, PreTrainedModel

from tasks.train.cpu import TESTED, quicken
from tasks.train.cpu.embeddings import NarrowEmbedding
from tasks.train.cpu.projections import JointLinear
from tests.support.tiny import NO_DROPOUT, SIZES

IDS = torch.tensor([[2, 7, 3, 7, 9, 4], [5, 6, 8, 1, 1, 1]])
DISTIL = {"dim": 16, "n_layers": 2, "n_heads": 2, "hidden_dim": 32, "dropout": 0, "attention_dropout": 0, "seq_classif_dropout": 0}
T5 = {"d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 1, "num_heads": 2, "decoder_start_token_id": 1, "dropout_rate": 0}
OTHERS = {
    "albert": {},
    "bart": {"d_model": 16, "encoder_layers": 1, "decoder_layers": 1, "encoder_attention_heads": 2, "decoder_attention_heads": 2},
    "canine": {"num_hash_buckets": 64, "num_hash_functions": 2},
    "deberta-v2": {},
    "gpt2": {"n_embd": 16, "n_layer": 1, "n_head": 2},
    "llama": {},
    "longformer": {"attention_window": [2, 2]},
    "t5": T5,
    "xlnet": {"d_model": 16, "n_layer": 1, "n_head": 2, "d_inner": 32},
}


def model(kind: str, **more: object) -> PreTrainedModel:
    torch.manual_seed(0)
    config = AutoConfig.for_model(kind, **{**SIZES, **NO_DROPOUT, "pad_token_id": 1, **more})
    made: PreTrainedModel = AutoModelForSequenceClassification.from_config(config)
    return made


def reached(made: PreTrainedModel) -> set[str]:
    """Return the kinds of change from inside that a model has had."""
    kinds = {type(module).__name__ for module in made.modules()}
    hooked = any(module._forward_pre_hooks for module in made.modules())
    return kinds & {NarrowEmbedding.__name__, JointLinear.__name__} | ({"hooks"} if hooked else set())


@pytest.mark.parametrize("kind", sorted(TESTED))
def test_a_kind_that_was_tried_is_trained_as_it_is_without(kind: str) -> None:
    plain, quick = (model(kind, **(DISTIL if kind == "distilbert" else {})) for _ in range(2))
    quicken(quick, set(IDS.flatten().tolist()))
    assert reached(quick) >= {"NarrowEmbedding", "JointLinear"}
    for made in (plain, quick):
        optimizer = torch.optim.AdamW([weight for weight in made.parameters() if weight.requires_grad], lr=0.01, weight_decay=0)
        for _ in range(3):
            made.train()(input_ids=IDS, attention_mask=(IDS != 1).long(), labels=torch.tensor([0, 1])).loss.backward()
            optimizer.step()
            optimizer.zero_grad()
    expected, found = plain.state_dict(), quick.state_dict()
    assert list(found) == list(expected)
    for name, values in expected.items():
        torch.testing.assert_close(found[name], values, msg=name, atol=2e-3, rtol=0)


@pytest.mark.parametrize("kind", sorted(OTHERS))
def test_another_kind_is_left_as_it_is(kind: str) -> None:
    made = model(kind, **OTHERS[kind])
    before = reached(made)
    quicken(made, set(IDS.flatten().tolist()))
    assert reached(made) == before
