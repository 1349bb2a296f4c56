"""What only visual question answering has to tune."""

from typing import Literal

from pydantic import Field

from tasks.shared.section import Section


class Own(Section):
    """The size of pictures, calibration."""

    image_size: int | None = Field(
        None,
        ge=8,
        le=4096,
        description="Pixels on each side of what the model is given; empty: what the base model expects.",
    )
    calibration: Literal["none", "temperature"] = Field(
        "none",
        description=(
            "temperature: after training, make the model as sure as it is right on validation. "
            "Answers stay as they are."
        ),
    )
