"""What every problem has to tune whose rows are sounds."""

from pydantic import Field

from tasks.shared.section import Section


class Masks(Section):
    """What is taken out of train sounds, otherwise in each epoch (SpecAugment)."""

    time: float = Field(
        0.0, ge=0, lt=1, description="Take out one stretch of up to this share of the time; 0: none."
    )
    frequency: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="Take out one band of up to this share of the frequencies; not of waveforms. 0: none.",
    )


class Sounds(Section):
    """How much of a sound is heard, and what is taken out of train sounds."""

    max_seconds: float = Field(
        10.0,
        ge=0.1,
        le=3600,
        description=(
            "Cut sounds to so many seconds. Models that read a fixed length or no mask "
            "are given so much of every sound."
        ),
    )
    masks: Masks = Field(Masks(), description="What is taken out of train sounds.")
