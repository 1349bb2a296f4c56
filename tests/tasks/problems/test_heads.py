"""Heads of classifiers: their answers are divided by a temperature, however many layers they end with."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
import torch
import transformers as hf
from datasets import Dataset

from tasks.problems.common import heads

ROWS = 5
DATA = Dataset.from_dict({"seed": list(range(ROWS)), "length": [1] * ROWS, "labels": [0] * ROWS})
TINY: dict[str, Any] = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
TINY |= {"intermediate_size": 16}


def pictures(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return a picture of noise for each row."""
    drawn = [np.random.default_rng(row["seed"]).normal(size=(3, 64, 64)) for row in rows]
    return {"pixel_values": torch.tensor(np.stack(drawn), dtype=torch.float32)}


def words(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return a few tokens for each row."""
    return {"input_ids": torch.tensor([[row["seed"] + place for place in range(4)] for row in rows])}


class Squashed(hf.ViTForImageClassification):
    """A classifier whose answers no layer's weights multiply."""

    def forward(self, *given: Any, **named: Any) -> Any:
        found = super().forward(*given, **named)
        found.logits = found.logits.tanh()
        return found


MODELS = {
    "one layer": (hf.ViTForImageClassification, hf.ViTConfig(**TINY, image_size=64), pictures),
    "the mean of two": (
        hf.SwiftFormerForImageClassification,
        hf.SwiftFormerConfig(image_size=64, depths=[1] * 4, embed_dims=[8] * 4, mlp_ratio=2),
        pictures,
    ),
    # its layer before the last one has as many outputs as there are labels
    "two in a row": (
        hf.RobertaForSequenceClassification,
        hf.RobertaConfig(**TINY, vocab_size=30, num_labels=16, max_position_embeddings=20),
        words,
    ),
}


def made(head: Any, settings: Any, collate: Any) -> tuple[Any, np.ndarray]:
    """Return a model whose head answers with numbers of some size, and its answers."""
    torch.manual_seed(0)
    model = head(settings)
    for name, weight in model.named_parameters():
        if not name.startswith(model.base_model_prefix):
            torch.nn.init.normal_(weight)
    return model, heads.logits(model, collate, DATA)


@pytest.mark.parametrize("kind", MODELS)
def test_a_temperature_divides_all_of_a_head_s_answers(kind: str) -> None:
    head, settings, collate = MODELS[kind]
    model, before = made(head, settings, collate)
    assert np.abs(before).max() > 0.1
    assert heads.divide(model, 1.7, collate, DATA, before)
    np.testing.assert_allclose(heads.logits(model, collate, DATA), before / 1.7, rtol=1e-3, atol=1e-4)


def test_a_head_that_cannot_be_divided_is_tried_once_and_stays_as_it_was() -> None:
    model, before = made(Squashed, hf.ViTConfig(**TINY, image_size=64), pictures)
    asked = []

    def collate(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        asked.append(len(rows))
        return pictures(rows)

    assert not heads.divide(model, 1.7, collate, DATA, before)
    assert asked == [ROWS]
    assert np.array_equal(heads.logits(model, pictures, DATA), before)
