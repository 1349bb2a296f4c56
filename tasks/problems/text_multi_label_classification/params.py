"""What only multi-label text classification has to tune."""

from typing import Literal

from pydantic import Field

from tasks.shared.section import Section


class Own(Section):
    """Thresholds."""

    thresholds: Literal["half", "one", "per_label"] = Field(
        "one",
        description=(
            "From which score on a label applies: 0.5; "
            "one for all labels or one for each, with the best F1 on validation."
        ),
    )
