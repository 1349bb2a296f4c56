"""Tokens that a vocabulary does not know are counted in all that is read and in all that is to be said."""

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tasks import problems
from tasks.problems.common import pretrained
from tasks.shared.params import Params, Tokenize

# in no text of the tickets
UNKNOWN = "\u65e5"
SPANS = [{"start": 0, "end": 2, "label": "place"}]
TAGS = {"labels": ["O", "B-place", "I-place"], "types": ["place"], "has_prefix": True}
NONE = '{"text": [], "answer_start": []}'


@pytest.mark.parametrize(
    ("name", "own", "row", "targets"),
    [
        ("token_classification", {}, {"tokens": ["my", UNKNOWN], "tags": ["O", "O"]}, TAGS),
        ("token_classification", {"rows": "spans"}, {"text": f"my {UNKNOWN}", "spans": SPANS}, TAGS),
        ("sentence_similarity", {}, {"text": f"my {UNKNOWN}", "label": "a"}, {"labels": ["a"]}),
        ("sentence_similarity", {"rows": "pairs"}, {"text": "my order", "text_pair": UNKNOWN}, {}),
        ("text2text_generation", {}, {"text": "my order", "target": f"my {UNKNOWN}"}, {}),
        ("fill_mask", {"mask_share": 0.9}, {"text": f"my {UNKNOWN}"}, {}),
        ("question_answering", {}, {"question": UNKNOWN, "context": "my order", "answers": NONE}, {}),
    ],
)
def test_a_token_that_is_unknown_is_counted(
    name: str, own: dict[str, Any], row: dict[str, Any], targets: dict[str, Any], tiny_model: Path
) -> None:
    its = problems.load(name, Params.model_validate({"problem": name, name: own}).own)
    processor = pretrained.tokenizer(tiny_model, 32)
    (found,) = its.encode(processor, pl.DataFrame([row]), targets, Tokenize(max_length=32))
    assert found.unknown == 1


def test_of_a_picture_s_texts_unknown_tokens_are_counted_where_they_are_read_or_learned(
    tiny_model: Path,
) -> None:
    from transformers import GitProcessor, ViTImageProcessorPil

    name = "image_text_to_text"
    its = problems.load(name, Params.model_validate({"problem": name, name: {"max_new_tokens": 4}}).own)
    pictures = ViTImageProcessorPil(size={"height": 32, "width": 32})
    processor = GitProcessor(image_processor=pictures, tokenizer=pretrained.tokenizer(tiny_model, 32))
    # the answer's second one stands behind where it is cut
    row = {"image": "a.png", "text": f"my {UNKNOWN}", "answer": f"{UNKNOWN} my order my order {UNKNOWN}"}
    (found,) = its.encode(processor, pl.DataFrame([row]), {}, Tokenize(max_length=32))
    assert found.unknown == 2


def test_unknown_tokens_are_a_share_of_all_that_is_read_and_said(tiny_model: Path) -> None:
    processor = pretrained.tokenizer(tiny_model, 32)
    rows = pl.DataFrame({"text": ["my order is late"], "text_pair": ["refund me"], "target": ["refund me"]})
    read = [len(processor.encode(text)) for text in ("my order is late", "refund me")]
    own = Params.model_validate(
        {"problem": "sentence_similarity", "sentence_similarity": {"rows": "pairs"}}
    ).own
    (pairs,) = problems.load("sentence_similarity", own).encode(processor, rows, {}, Tokenize(max_length=32))
    assert pairs.tokens == sum(read)
    own = Params.model_validate({"problem": "text2text_generation"}).own
    (said,) = problems.load("text2text_generation", own).encode(processor, rows, {}, Tokenize(max_length=32))
    # without the first token, which the decoder starts with
    assert said.tokens == sum(read) - 1
