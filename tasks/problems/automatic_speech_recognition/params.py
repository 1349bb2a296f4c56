"""What only speech recognition has to tune; how texts are written is named as in `GenerationConfig`."""

from typing import ClassVar

from pydantic import Field

from tasks.problems.common.sounds.params import Sounds


class Own(Sounds):
    """How much of a sound is heard, how texts are normalised, how an encoder-decoder writes them."""

    has_tokenizer: ClassVar[bool] = False

    words: dict[str, str] = Field(
        default_factory=dict,
        description="Learn and compare these words written otherwise, such as {7: seven}.",
    )
    lowercase: bool = Field(False, description="Learn and compare texts in small letters.")
    strip_punctuation: bool = Field(
        False,
        description="Learn and compare texts without what is neither letter, mark, digit nor apostrophe.",
    )
    language: str | None = Field(
        None,
        max_length=40,
        description="Encoder-decoder that knows many languages: the one that is spoken, such as german.",
    )
    max_new_tokens: int = Field(
        128,
        ge=2,
        le=1_000_000,
        description="Encoder-decoder: a text has no more tokens than this, in training too.",
    )
    num_beams: int = Field(
        1,
        ge=1,
        le=256,
        description="Encoder-decoder: texts kept at each token; 1: the likeliest token is taken.",
    )
    validation_rows: int = Field(
        0,
        ge=0,
        description=(
            "Encoder-decoder: the first validation rows whose texts each evaluation writes; "
            "0: the loss alone selects."
        ),
    )
