"""The section `tokenize` of params.yaml."""

from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from tasks.shared.section import Section

# the first four are learned; bytes and code points are there already
TokenizerKind = Literal["bpe", "wordpiece", "unigram", "character", "byte", "code_point"]
# 256 bytes, room for special tokens, and something to learn
LEAST_TOKENS = {"bpe": 272, "unigram": 288}


class TokenizerTraining(Section):
    """A tokenizer of one's own, learned from the train split, for a model from scratch."""

    kind: TokenizerKind | None = Field(
        None,
        description=(
            "bpe of bytes, wordpiece, unigram with bytes for what it does not know, or character; "
            "byte and code_point need no learning. Empty: the base model's tokenizer."
        ),
    )
    vocab_size: int = Field(
        8000, ge=16, le=1_000_000, description="How many tokens there are at most, special ones included."
    )
    lowercase: bool = Field(
        False, description="Read capitals as small letters; bpe, wordpiece, unigram and character only."
    )

    @model_validator(mode="after")
    def _kind_has_room(self) -> Self:
        least = LEAST_TOKENS.get(self.kind or "", 0)
        if self.vocab_size < least:
            raise ValueError(
                f"vocab_size {self.vocab_size} has no room for {self.kind}'s 256 bytes and special tokens; "
                f"give {least} or more"
            )
        if self.lowercase and self.kind in ("byte", "code_point"):
            raise ValueError(f"lowercase is not for {self.kind}, which reads text as it is")
        return self


class Tokenize(Section):
    """How rows become model inputs."""

    max_length: int = Field(
        128, ge=4, le=1_000_000, description="Cut inputs to this many tokens, special tokens included."
    )
    special_tokens: list[str] = Field(
        default_factory=list,
        description=(
            "Tokens to add, never split, such as <|user|>; "
            "the model's embedding grows where it has none for them."
        ),
    )
    train: TokenizerTraining = Field(TokenizerTraining(), description="A tokenizer of one's own.")

    @field_validator("special_tokens")
    @classmethod
    def _tokens_are_words(cls, tokens: list[str]) -> list[str]:
        odd = [token for token in tokens if not token.strip() or tokens.count(token) > 1]
        if odd:
            raise ValueError(f"{odd[0]!r} is blank or stands there twice; give each token once")
        return tokens
