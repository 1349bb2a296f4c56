"""A base model's tokenizer and weights as `transformers` loads them, or one sentence why it cannot be used.

The one place that loads what others wrote: never their code, never a pickle, never anything from elsewhere.
"""

from tasks.problems.common.pretrained.answers import class_logits, try_out
from tasks.problems.common.pretrained.configs import HERE, config, is_from_scratch, positions
from tasks.problems.common.pretrained.errors import in_words
from tasks.problems.common.pretrained.models import classifier, encoder_decoder, model
from tasks.problems.common.pretrained.processors import (
    characters,
    end,
    feature_extractor,
    image_processor,
    processor,
    saved_tokenizer,
    tokenizer,
)

__all__ = [
    "HERE",
    "characters",
    "class_logits",
    "classifier",
    "config",
    "encoder_decoder",
    "end",
    "feature_extractor",
    "image_processor",
    "in_words",
    "is_from_scratch",
    "model",
    "positions",
    "processor",
    "saved_tokenizer",
    "tokenizer",
    "try_out",
]
