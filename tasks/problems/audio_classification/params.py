"""What only audio classification has to tune."""

from typing import ClassVar, Literal

from pydantic import Field

from tasks.problems.common.sounds.params import Sounds


class Own(Sounds):
    """How much of a sound is heard, augmentation, calibration."""

    has_tokenizer: ClassVar[bool] = False

    calibration: Literal["none", "temperature"] = Field(
        "none",
        description=(
            "temperature: after training, make the model as sure as it is right on validation. "
            "Labels stay as they are."
        ),
    )
