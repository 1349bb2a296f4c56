"""The section `package` of params.yaml."""

from pydantic import Field

from tasks.shared.section import Section


class Package(Section):
    """What is said of the model that leaves the house."""

    name: str = Field(
        "ticket-intents", pattern=r"^[\w.-]{1,96}$", description="The model's name in its card."
    )
    license: str = Field("apache-2.0", min_length=1, description="The licence identifier in the model card.")
    language: str = Field("en", min_length=2, description="The language tag in the model card.")
