"""What is known of a base model before it is loaded."""

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers as hf

from tasks.problems.common.pretrained import end, positions
from tasks.problems.common.pretrained.configs import OFFSET
from tests.support.families import LIKE_BERT, distilbert, gpt2, llama, make, roberta

# sizes that not all have
MORE: dict[str, dict[str, Any]] = {
    "layoutlmv3": {"coordinate_size": 6, "shape_size": 4, "visual_embed": False},
    "lilt": {"hidden_size": 48},
    "xmod": {"default_language": "en_XX"},
    "luke": {"entity_vocab_size": 8, "entity_emb_size": 8},
    "longformer": {"attention_window": 4},
}


@pytest.mark.parametrize("kind", [*sorted(OFFSET), "bert"])
def test_a_model_reads_as_many_tokens_as_it_is_said_to_have_positions_for(kind: str) -> None:
    from transformers import AutoConfig, AutoModel

    sizes = {**LIKE_BERT, "vocab_size": 16, "max_position_embeddings": 20, "pad_token_id": 1}
    config = AutoConfig.for_model(kind, **{**sizes, **MORE.get(kind, {})})
    model = AutoModel.from_config(config).eval()
    count = positions(config)
    assert count == (20 if kind == "bert" else 18)
    ids = torch.full((1, count), 5)
    with torch.inference_mode():
        assert model(input_ids=ids, attention_mask=torch.ones_like(ids))[0].shape[1] == count
        more = torch.full((1, count + 1), 5)
        with pytest.raises((IndexError, RuntimeError, ValueError)):
            model(input_ids=more, attention_mask=torch.ones_like(more))


def test_a_model_without_a_row_per_position_loses_none_to_its_padding_token() -> None:
    from transformers import AutoConfig

    sizes = {**LIKE_BERT, "vocab_size": 16, "max_position_embeddings": 20, "pad_token_id": 1}
    assert positions(AutoConfig.for_model("esm", **sizes, position_embedding_type="rotary")) == 20


@pytest.mark.parametrize(
    ("family", "last"), [(distilbert, "[SEP]"), (gpt2, "<|endoftext|>"), (llama, "</s>"), (roberta, "</s>")]
)
def test_a_text_ends_with_the_token_that_each_family_ends_it_with(
    family: Any, last: str, tmp_path: Path, tiny_model: Path
) -> None:
    processor = hf.AutoTokenizer.from_pretrained(make(family, tmp_path / "base", tiny_model))
    assert processor.convert_ids_to_tokens(end(processor)) == last


def test_a_text_ends_as_its_tokenizer_ends_it_which_has_two_tokens_for_that() -> None:
    pieces = ["<pad>", "</s>", "<s>", "<unk>", "[SEP]", "[CLS]", "[MASK]", "\u2581", *"abc"]
    processor = hf.BigBirdTokenizer(vocab=[(piece, 0.0) for piece in pieces])
    assert processor.eos_token_id != processor.sep_token_id
    assert end(processor) == processor.sep_token_id == processor(text_target="ab")["input_ids"][-1]
