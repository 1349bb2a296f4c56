"""What only text classification has to tune."""

from typing import Annotated

from pydantic import Field

from tasks.problems.common.fields import Calibration
from tasks.shared.section import Section


class Own(Section):
    """A class of what is out of scope, calibration."""

    out_of_scope: Annotated[str, Field(min_length=1)] | None = Field(
        None,
        description=(
            "The label of texts that belong to no other: its recall, "
            "and the accuracy on all others, are measured by themselves."
        ),
    )
    calibration: Calibration = "none"
