"""The section `evaluate` of params.yaml."""

from pydantic import Field, field_validator

from tasks.shared.section import Section


class Evaluate(Section):
    """How the model is measured, on the test split only."""

    batch_size: int = Field(64, ge=1, le=65536, description="Rows per step.")
    confidence_level: float = Field(0.95, gt=0.5, lt=1, description="The level of the bootstrap intervals.")
    n_resamples: int = Field(1000, ge=100, le=1_000_000, description="Bootstrap resamples.")
    seed: int = Field(0, ge=0, lt=2**32, description="Seeds the bootstrap.")
    worst_mistakes: int = Field(
        20, ge=0, le=10_000, description="How many of the most confident mistakes to list."
    )
    slices: list[str] = Field(
        default_factory=list,
        description="Columns of the splits, such as label or source_file; each value is measured by itself.",
    )

    @field_validator("slices")
    @classmethod
    def _each_is_sliced_once(cls, names: list[str]) -> list[str]:
        return list(dict.fromkeys(names))
