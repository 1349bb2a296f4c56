"""What only texts about pictures have to tune."""

from typing import Literal

from pydantic import Field

from tasks.problems.common.fields import ImageSize
from tasks.shared.section import Section


class Own(Section):
    """The size of pictures, what reads them in a model from scratch, how answers are written and counted."""

    image_size: ImageSize = None
    patch_size: int = Field(
        16, ge=1, le=4096, description="From scratch: pixels on each side of what is one token."
    )
    vision_layers: int | None = Field(
        None,
        ge=1,
        le=1000,
        description="From scratch: layers that read the picture alone; empty: as many as read all.",
    )
    max_new_tokens: int = Field(
        32, ge=1, le=1_000_000, description="An answer has no more tokens than this, in training too."
    )
    num_beams: int = Field(
        1,
        ge=1,
        le=256,
        description="Candidates that are kept at each token; 1: the likeliest token is taken.",
    )
    bleu_tokenizer: Literal["13a", "intl", "char", "zh", "none"] = Field(
        "13a",
        description="How sacrebleu tells words apart: zh for Chinese, char for other scripts without blanks.",
    )
