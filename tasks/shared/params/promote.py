"""The section `promote` of params.yaml."""

from typing import Literal

from pydantic import Field

from tasks.shared.section import Section

# a model takes the place of the one in production
When = Literal["never", "better", "better_or_equivalent", "ask"]
# names of models and stages as GTO's convention for Git tags has them (gto.constants.name), less the slash
ARTIFACT = r"^[a-zA-Z0-9](?:[a-zA-Z0-9_-]*[a-zA-Z0-9])?$"


class Promote(Section):
    """When a model takes the place of the one in production, and what counts as proof."""

    when: When = Field(
        "never",
        description=(
            "never: by hand alone. better: as soon as it is shown to be better than the champion. "
            "better_or_equivalent: also where it is shown to be as good. "
            "ask: somebody approves it in the Prefect UI."
        ),
    )
    name: str | None = Field(
        None,
        pattern=ARTIFACT,
        description=(
            "The model's name in the registry; empty: package.name, with dashes for what cannot stand there."
        ),
    )
    stage: str = Field("prod", pattern=ARTIFACT, description="The stage of the registry that is won.")
    champion: str | None = Field(
        None,
        pattern=r"^sha256:[0-9a-f]{64}$",
        description=(
            "The package that a model is compared with. "
            "Empty: `retrain run` finds out which one has the stage, and writes it here."
        ),
    )
    margin: float = Field(
        0.01,
        ge=0,
        lt=1e9,
        description="By how much the headline must differ at least: what is within is equivalent.",
    )
    seed_deviation: float | None = Field(
        None,
        ge=0,
        lt=1e9,
        description=(
            "The standard deviation of the headline over trainings that differ in train.seed alone. "
            "The margin is 1.645 * sqrt(2) times as much at least."
        ),
    )
    alpha: float = Field(
        0.05,
        gt=0,
        lt=0.5,
        description="How often a model that is no better may be promoted, over all looks at a test split.",
    )
    max_calibration_rise: float = Field(
        0.05,
        ge=0,
        le=1,
        description=(
            "Hold a model that is surer than it is right, by so much more than the champion "
            "(the part of the calibration error that is overconfidence)."
        ),
    )
    max_unknown_rise: float = Field(
        0.02,
        ge=0,
        le=1,
        description=(
            "Hold a model whose tokenizer does not know a larger share of the test rows' tokens, "
            "by so much more than the champion's."
        ),
    )
    max_size_ratio: float = Field(
        2.0, gt=0, lt=1e6, description="Hold a model whose package is more than so many times as large."
    )
    max_latency_ratio: float | None = Field(
        None,
        gt=0,
        lt=1e6,
        description=(
            "Hold a model that takes more than so many times as long to answer a row, "
            "measured on this machine when it is decided. Empty: not measured."
        ),
    )
    ask_timeout_hours: float = Field(
        72.0, gt=0, le=8760, description="How long a run waits for an answer, where `when` is ask."
    )
