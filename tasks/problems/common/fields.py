"""Params that several problems have in sections of their own."""

from typing import Annotated, Literal

from pydantic import Field

Calibration = Annotated[
    Literal["none", "temperature"],
    Field(
        description=(
            "temperature: after training, make the model as sure as it is right on validation. "
            "Labels stay as they are."
        ),
    ),
]
ImageSize = Annotated[
    int | None,
    Field(
        ge=8,
        le=4096,
        description="Pixels on each side of what the model is given; empty: what the base model expects.",
    ),
]
