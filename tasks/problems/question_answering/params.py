"""What only question answering has to tune."""

from pydantic import Field

from tasks.shared.section import Section


class Own(Section):
    """Windows over long contexts, and which answers are looked at."""

    doc_stride: int = Field(
        64,
        ge=0,
        le=1_000_000,
        description="Tokens that two windows over a context longer than tokenize.max_length have in common.",
    )
    n_best: int = Field(20, ge=1, le=1000, description="The best answers of each window that are compared.")
    max_answer_length: int = Field(30, ge=1, le=10_000, description="Answers have no more tokens than this.")
    no_answer_threshold: float = Field(
        0.0,
        allow_inf_nan=False,
        description="No answer is said where its score is higher than the best answer's by more than this.",
    )
