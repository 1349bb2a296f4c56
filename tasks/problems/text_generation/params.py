"""What only text generation has to tune."""

import re
from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from tasks.shared.section import Section


class Generation(Section):
    """How text is generated when the model is measured, and by default where its package is served."""

    rows: int = Field(
        20, ge=1, le=1_000_000, description="For how many test rows, the first ones, text is generated."
    )
    max_new_tokens: int = Field(64, ge=1, le=100_000, description="Stop after this many tokens.")
    num_beams: int = Field(
        1, ge=1, le=100, description="Beams of the search; 1: the likeliest token each time."
    )
    repetition_penalty: float = Field(
        1.0, gt=0, le=10, description="Above 1: tokens that stand there already are less likely."
    )
    no_repeat_ngram_size: int = Field(
        0, ge=0, le=1000, description="No run of this many tokens occurs twice; 0: it may."
    )
    batch_size: int = Field(
        16, ge=1, le=65536, description="Prompts of like length that are answered together."
    )
    prompt_chars: int = Field(
        100, ge=1, le=1_000_000, description="rows text: how much of a row's beginning is the prompt."
    )


class Lora(Section):
    """Low-rank adapters beside frozen weights (Hu et al. 2021), through peft."""

    r: int = Field(
        0, ge=0, le=4096, description="The adapters' rank; 0: no adapters, all weights are trained."
    )
    alpha: float = Field(16.0, gt=0, le=1e6, description="Adapters count alpha / r times.")
    dropout: float = Field(0.0, ge=0, lt=1, description="Dropout of the adapters' inputs.")
    target_modules: list[str] = Field(
        default_factory=list,
        description=(
            "Layers with an adapter, by the ends of their names, such as q_proj; "
            "empty: every linear layer but the head."
        ),
    )
    merge: bool = Field(
        True,
        description=(
            "Package weights with the adapters added; otherwise the adapters lie beside the base's weights."
        ),
    )


class Own(Section):
    """Text generation: what rows are, how text is cut, how it is generated, and adapters."""

    rows: Literal["text", "instructions", "messages"] = Field(
        "instructions",
        description=(
            "text: plain text; instructions: a prompt and an answer; messages: conversations. "
            "The latter two learn answers only."
        ),
    )
    document: Literal["file", "block"] = Field(
        "file",
        description="rows text: a text file is one document, or each block between blank lines is one.",
    )
    chars_per_row: int = Field(
        1000,
        ge=16,
        le=10_000_000,
        description="rows text: documents of text files make a row for so many characters.",
    )
    packing: bool = Field(
        True, description="rows text: documents share a model input; none attends to another."
    )
    system: str | None = Field(
        None,
        description=(
            "rows instructions: what the chat template's system message says; empty: nothing of ours."
        ),
    )
    template_seconds: float = Field(
        5.0, gt=0, le=3600, description="Stop when the model's chat template takes longer for one row."
    )
    answer_pattern: str | None = Field(
        None,
        description=(
            "What of an answer is compared: the last match of this regular expression, or its group. "
            "Empty: the whole answer."
        ),
    )
    generation: Generation = Field(Generation(), description="Generation when the model is measured.")
    lora: Lora = Field(Lora(), description="Adapters.")

    @field_validator("answer_pattern")
    @classmethod
    def _pattern_can_be_read(cls, pattern: str | None) -> str | None:
        try:
            groups = re.compile(pattern or "").groups
        except re.error as error:
            raise ValueError(
                f"{pattern!r} is no regular expression ({error}); give one such as '#### (.+)'"
            ) from None
        if groups > 1:
            raise ValueError(f"{pattern!r} has {groups} groups; give one at most, around what is compared")
        return pattern

    @model_validator(mode="after")
    def _only_text_has_no_answers(self) -> Self:
        if self.rows == "text" and self.answer_pattern is not None:
            raise ValueError(
                "answer_pattern is for rows instructions or messages; rows text has no answers to compare"
            )
        return self
