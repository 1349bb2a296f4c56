"""The section `split` of params.yaml."""

import re
from datetime import UTC, datetime
from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from tasks.shared.params.constrained import Share
from tasks.shared.section import Section

SPLITS = ("train", "validation", "test")
# how many microseconds one of them is: what split.time_format may say instead of strftime's directives
EPOCHS = {"epoch_seconds": 1_000_000, "epoch_milliseconds": 1_000}
SplitMethod = Literal["stable", "stratified", "by_time", "by_group", "by_position", "predefined"]
Column = Annotated[str, Field(min_length=1)]


class Split(Section):
    """How rows are given to train, validation and test."""

    method: SplitMethod = Field(
        "stable",
        description=(
            "stable: by content hash, so that a row keeps its side as data grows; "
            "by_position: the first rows train, the last test."
        ),
    )
    validation_share: Share = Field(
        0.1, description="The share of rows for validation (of train rows, where test is predefined)."
    )
    test_share: Share = Field(0.2, description="The share of rows for test.")
    seed: int = Field(0, ge=0, lt=2**32, description="Another seed draws another split.")
    time_column: Column | None = Field(
        None, description="by_time: the column with dates; the newest rows become test."
    )
    time_format: Column | None = Field(
        None,
        description=(
            "by_time: how the dates are written, such as %d/%m/%Y, "
            "epoch_seconds or epoch_milliseconds; empty: ISO 8601."
        ),
    )
    group_column: Column | None = Field(
        None, description="by_group: rows with the same value here stay together."
    )
    min_rows_per_label: int = Field(
        2, ge=1, description="Stop when a label has fewer rows: it could not be both learned and tested."
    )
    split_column: Column | None = Field(
        None, description="predefined: the column that says train, validation or test."
    )

    @field_validator("time_format")
    @classmethod
    def _time_format_can_be_read(cls, form: str | None) -> str | None:
        if form is None or form in EPOCHS:
            return form
        sample = datetime(2026, 1, 31, 12, tzinfo=UTC)
        try:
            said = sample.strftime(form)
            read = datetime.strptime(said, form)  # noqa: DTZ007 (only whether it can be read)
        except (ValueError, re.error):
            read = None
        if read is None or read.year != sample.year:
            raise ValueError(
                f"'{form}' cannot be read back as a time; give strftime's directives with the year, "
                f"such as %d/%m/%Y, or one of {', '.join(EPOCHS)}"
            )
        return form

    @model_validator(mode="after")
    def _method_has_its_column(self) -> Self:
        for method, column in (("by_time", "time_column"), ("by_group", "group_column")):
            if self.method == method and getattr(self, column) is None:
                raise ValueError(f"method {method} needs {column}")
        if self.validation_share + self.test_share >= 1:
            raise ValueError(
                f"validation_share {self.validation_share} and test_share {self.test_share} "
                "leave nothing for train"
            )
        return self
