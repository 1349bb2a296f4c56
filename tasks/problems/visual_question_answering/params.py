"""What only visual question answering has to tune."""

from tasks.problems.common.fields import Calibration, ImageSize
from tasks.shared.section import Section


class Own(Section):
    """The size of pictures, calibration."""

    image_size: ImageSize = None
    calibration: Calibration = "none"
