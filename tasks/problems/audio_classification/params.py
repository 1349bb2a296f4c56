"""What only audio classification has to tune."""

from typing import ClassVar

from tasks.problems.common.fields import Calibration
from tasks.problems.common.sounds.params import Sounds


class Own(Sounds):
    """How much of a sound is heard, augmentation, calibration."""

    has_tokenizer: ClassVar[bool] = False

    calibration: Calibration = "none"
