"""What only image classification has to tune."""

from typing import ClassVar

from pydantic import Field

from tasks.problems.common.fields import Calibration, ImageSize
from tasks.shared.section import Section


class Augment(Section):
    """How train pictures are changed, otherwise in each epoch."""

    flip: bool = Field(False, description="Mirror half of them, left to right.")
    crop: float = Field(
        1.0, gt=0, le=1, description="Cut out a part of this share of the area or more; 1: none is cut."
    )
    color: float = Field(
        0.0, ge=0, le=1, description="Change brightness, contrast and saturation by up to this share."
    )
    erase: float = Field(0.0, ge=0, le=1, description="The share of pictures in which a rectangle is greyed.")
    mixup: float = Field(
        0.0,
        ge=0,
        le=10,
        description="Mix each picture with another, by shares drawn from Beta(mixup, mixup); 0: none.",
    )


class Own(Section):
    """The size of pictures, augmentation, calibration."""

    has_tokenizer: ClassVar[bool] = False

    image_size: ImageSize = None
    augment: Augment = Field(Augment(), description="How train pictures are changed.")
    calibration: Calibration = "none"
