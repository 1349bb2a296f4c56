"""What only text-to-text generation has to tune; names are those of `transformers.GenerationConfig`."""

from typing import Literal

from pydantic import Field

from tasks.shared.section import Section


class Own(Section):
    """Languages, how long targets are, how texts are generated, and how words are told apart and counted."""

    source_language: str | None = Field(
        None,
        description="The language of texts, where the base model is told it: its code, such as eng_Latn.",
    )
    target_language: str | None = Field(
        None,
        description="The language of targets, where the base model is told it: its code, such as fra_Latn.",
    )
    max_target_length: int = Field(
        128,
        ge=2,
        le=1_000_000,
        description="Cut targets to this many tokens in training.",
    )
    max_new_tokens: int = Field(
        128,
        ge=1,
        le=1_000_000,
        description="A generated text has no more tokens than this.",
    )
    num_beams: int = Field(
        1,
        ge=1,
        le=256,
        description="Candidates that are kept at each token; 1: the likeliest token is taken.",
    )
    length_penalty: float = Field(
        1.0,
        allow_inf_nan=False,
        description="With beams: above 0 favours longer texts, below 0 shorter ones.",
    )
    early_stopping: bool = Field(
        False,
        description="With beams: stop as soon as there are as many whole texts as beams.",
    )
    no_repeat_ngram_size: int = Field(
        0,
        ge=0,
        le=1000,
        description="No sequence of so many tokens occurs twice; 0: any may.",
    )
    repetition_penalty: float = Field(
        1.0,
        gt=0,
        allow_inf_nan=False,
        description="Above 1 makes tokens that occurred already less likely.",
    )
    validation_rows: int = Field(
        0,
        ge=0,
        description=(
            "The first validation rows whose texts each evaluation generates; 0: the loss alone selects."
        ),
    )
    bleu_tokenizer: Literal["13a", "intl", "char", "zh", "none"] = Field(
        "13a",
        description="How sacrebleu tells words apart: zh for Chinese, char for other scripts without blanks.",
    )
