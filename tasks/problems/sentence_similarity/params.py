"""What only sentence similarity has to tune."""

from typing import Literal

from pydantic import Field

from tasks.shared.section import Section


class Own(Section):
    """What is alike, and how strictly."""

    rows: Literal["labels", "pairs"] = Field(
        "labels",
        description=(
            "labels: `text` and `label`, texts of one label are alike; "
            "pairs: `text` and `text_pair`, which is alike."
        ),
    )
    temperature: float = Field(
        0.05,
        gt=0,
        le=10,
        description="What similarities are divided by in the loss; lower: the nearest count for more.",
    )
