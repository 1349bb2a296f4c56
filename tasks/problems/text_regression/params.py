"""What only text regression has to tune."""

from pydantic import Field

from tasks.shared.section import Section


class Own(Section):
    """Units, and a number that parts good from bad."""

    standardize: bool = Field(
        True,
        description=(
            "Learn numbers from their mean, in units of their spread; "
            "the packaged model answers in their own. The head needs a bias."
        ),
    )
    threshold: float | None = Field(
        None,
        allow_inf_nan=False,
        description=(
            "Also measure how often the predicted and the actual number are both at least this one, "
            "or both below."
        ),
    )
