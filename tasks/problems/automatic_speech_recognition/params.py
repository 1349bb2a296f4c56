"""What only speech recognition has to tune."""

from typing import ClassVar

from pydantic import Field

from tasks.problems.common.sounds.params import Sounds


class Own(Sounds):
    """How much of a sound is heard, what is taken out of train sounds, how texts are normalised."""

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
