"""The section `data` of params.yaml."""

import re
from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from tasks.shared.params.constrained import Source
from tasks.shared.section import Section

Format = Literal["auto", "csv", "tsv", "jsonl", "json", "parquet", "arrow"]
Quoting = Literal["auto", "quoted", "unquoted"]
# of data.media_path
PATH_PARTS = re.compile(r"\{(\w*)\}")


class Data(Section):
    """Where the raw rows are and how to read them."""

    path: Source = Field(
        "data/raw/tickets.csv",
        min_length=1,
        description=(
            "A file or folder; from outside (a path, a URL, hf://datasets/OWNER/NAME@REVISION) "
            "it is imported under DVC first."
        ),
    )
    files: str | None = Field(
        None,
        description="A glob inside the folder `path`, such as **/*.csv; empty: every file of a known format.",
    )
    train_file: str | None = Field(
        None,
        description="A glob inside the folder `path`: the train split, for split.method predefined. "
        "In JSON #train, or #train+more, names the lists of rows.",
    )
    validation_file: str | None = Field(
        None, description="A glob inside the folder `path`: the validation split."
    )
    test_file: str | None = Field(None, description="A glob inside the folder `path`: the test split.")
    format: Format = Field("auto", description="The file format; auto goes by the file name's ending.")
    header: bool = Field(
        True,
        description="CSV and TSV only: the first line holds column names. Without: column_1, column_2, ...",
    )
    column_names: list[str] = Field(
        default_factory=list,
        description=(
            "What the columns of a file without names are called, in their order: "
            "CSV and TSV without a header, JSON rows that are lists."
        ),
    )
    delimiter: str | None = Field(
        None,
        description=(
            "CSV and TSV only: the character between fields, such as ; or tab; empty: found out and said."
        ),
    )
    quoting: Quoting = Field(
        "auto",
        description=(
            "CSV and TSV only: quoted if quotes stand around fields, "
            "unquoted if they are part of the text; auto finds out."
        ),
    )
    encoding: str = Field(
        "utf-8",
        min_length=1,
        description="The text encoding of CSV, TSV and JSON files, such as utf-8 or cp1252.",
    )
    columns: dict[str, str] = Field(
        default_factory=dict,
        description=(
            "The file's name for each of the problem's columns, such as {text: message, label: intent}."
        ),
    )
    media_path: str | None = Field(
        None,
        min_length=1,
        description=(
            "Where pictures and sounds are: {} stands for what a row says, as in images/{}.png beside its "
            "table; {label} for what a path says, as in {label}_{speaker}_{}.wav. "
            "Empty: a row says the path; without a table folders are labels."
        ),
    )
    max_memory_mb: int = Field(
        600,
        ge=64,
        le=1_000_000,
        description=(
            "Refuse what takes more memory to read than this, and than 24 times its size in the file."
        ),
    )
    max_columns: int = Field(
        1000, ge=1, le=1_000_000, description="Refuse files with more columns than this, all together."
    )
    max_field_chars: int = Field(
        10_000_000,
        ge=100_000,
        le=2**31 - 1,
        description="Refuse files with a longer field than this, in characters, and text with a longer line.",
    )

    @field_validator("delimiter")
    @classmethod
    def _delimiter_is_a_character(cls, delimiter: str | None) -> str | None:
        if delimiter is not None and delimiter.lower() in ("tab", "\\t"):
            return "\t"
        if delimiter is not None and (len(delimiter) != 1 or delimiter in '"\r\n'):
            raise ValueError(
                f"{delimiter!r} is not one character that can stand between fields; "
                "give one such as ; or the word tab"
            )
        return delimiter

    @field_validator("media_path")
    @classmethod
    def _parts_of_the_path_differ(cls, pattern: str | None) -> str | None:
        parts = PATH_PARTS.findall(pattern or "")
        odd = [part for part in parts if parts.count(part) > 1 or not f"_{part}".isidentifier()]
        if odd:
            raise ValueError(
                f"in '{pattern}' {{{odd[0]}}} stands twice or is no name of a column; "
                "give each part of the path a name of its own"
            )
        return pattern

    @field_validator("column_names")
    @classmethod
    def _column_names_differ(cls, names: list[str]) -> list[str]:
        said = [name.strip() for name in names]
        if "" in said or len(set(said)) < len(said):
            names_ = ", ".join(map(repr, said))
            raise ValueError(f"{names_} are not names that differ; give each column one of its own")
        return said

    @model_validator(mode="after")
    def _one_way_to_name_files(self) -> Self:
        named = {
            "train_file": self.train_file,
            "validation_file": self.validation_file,
            "test_file": self.test_file,
        }
        given = [name for name, pattern in named.items() if pattern]
        if given and not (self.train_file and self.test_file):
            raise ValueError(
                f"{' and '.join(given)} alone cannot make the splits: give both train_file and test_file"
            )
        if given and self.files:
            raise ValueError(
                f"files and {given[0]} exclude each other: files is for data without predefined splits"
            )
        return self
