"""What only fill-mask has to tune."""

from pydantic import Field

from tasks.shared.section import Section


class Own(Section):
    """How tokens are masked."""

    mask_share: float = Field(
        0.15, gt=0, lt=1, description="The share of a text's tokens that are to be guessed."
    )
    seed: int = Field(0, ge=0, lt=2**32, description="Seeds which tokens are masked on validation and test.")
