"""The section `ingest` of params.yaml."""

from typing import Literal

from pydantic import Field

from tasks.shared.params.constrained import Share
from tasks.shared.section import Section


class Ingest(Section):
    """What is taken in and what is turned away."""

    max_rejected: Share = Field(0.05, description="Stop when more than this share of rows is rejected.")
    max_rows: int | None = Field(
        None,
        ge=1,
        description=(
            "Take no more rows than this, those with the smallest content ids: "
            "a sample, the same one again. Empty: all."
        ),
    )
    max_chars: int = Field(10_000, ge=1, description="Reject texts longer than this many characters.")
    max_pixels: int = Field(
        50_000_000, ge=1, le=10**9, description="Reject pictures of more pixels than this."
    )
    max_seconds: float = Field(
        600.0, gt=0, le=100_000, description="Reject sounds that are longer than this."
    )
    labels: list[str] = Field(
        default_factory=list,
        description="Take only rows with these labels, and pass over the others; none: all.",
    )
    missing_labels: Literal["reject", "none"] = Field(
        "reject",
        description=(
            "What a row says that lacks its list of labels: nothing, so it is rejected, or that it has none."
        ),
    )
    drop_duplicates: bool = Field(
        True, description="Keep the first of rows that are equal to the letter, label included."
    )
