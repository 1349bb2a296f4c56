"""What sections of params are made of; those of tasks/shared/params/, and those of the problems."""

from typing import Any, ClassVar, get_args

from pydantic import BaseModel, ConfigDict, model_validator

# JSON Schema's, in words
BOUNDS = {
    "minimum": "at least",
    "exclusiveMinimum": "above",
    "maximum": "at most",
    "exclusiveMaximum": "below",
}
# the word that empties what may be empty
NONE = "none"


def for_people(schema: dict[str, Any]) -> None:
    """Say in the description of each field what is allowed, and name menus after their field.

    A form made of the schema does neither.
    """
    for name, field in schema.get("properties", {}).items():
        field.setdefault("title", name.replace("_", " ").title())
        bounds = field.get("anyOf", [field])[0]
        words = [f"{word} {bounds[key]:g}" for key, word in BOUNDS.items() if key in bounds]
        if words:
            field["description"] = f"{field.get('description', '')} {', '.join(words).capitalize()}.".strip()


class Section(BaseModel):
    """A part of params.yaml: immutable, and strict about names it does not know."""

    # of what only a problem has to tune: whether its model reads text
    has_tokenizer: ClassVar[bool] = True

    model_config = ConfigDict(
        # a section inside another is built with it
        defer_build=True,
        frozen=True,
        extra="forbid",
        validate_default=True,
        json_schema_extra=for_people,
        hide_input_in_errors=True,
    )

    @model_validator(mode="before")
    @classmethod
    def _none_empties(cls, values: Any) -> Any:
        """Read the word `none` as nothing where a param may be empty: command lines and forms send words."""
        if not isinstance(values, dict):
            return values
        return {
            name: _emptied(cls, name) if value in (NONE, [NONE]) else value for name, value in values.items()
        }


def _emptied(section: type[BaseModel], name: str) -> Any:
    """Return what empties a param: nothing, or no entries; the word itself where it has to say something."""
    field = section.model_fields.get(name)
    if field is None:
        return NONE
    if field.default_factory in (dict, list):
        return field.default_factory()
    return None if type(None) in get_args(field.annotation) else NONE
