"""What a run may be given by a form, the API or a command: any of the params, each empty unless it is given.

Prefect keeps a form as it was when it was deployed, so this one holds no values: what is left empty is what
params.yaml says when the run starts. What it said when the form was made stands beside each field.
"""

import re
from typing import Annotated, Any, Literal, get_args

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    create_model,
    model_serializer,
)
from pydantic.fields import FieldInfo
from pydantic.json_schema import SkipJsonSchema

from tasks.shared.params import Params
from tasks.shared.params_file import Layer, complete, word
from tasks.shared.section import NONE, Section, for_people

Nothing = Annotated[Literal["none"], Field(title=NONE)]


def _without_values(schema: dict[str, Any]) -> None:
    """Take the defaults out of a schema: a form would send them."""
    for_people(schema)
    for field in schema.get("properties", {}).values():
        field.pop("default", None)
        if field.get("type") == "boolean":
            # a menu with nothing chosen: a switch looks as if it were off, and the older UI sends that; a
            # menu of truth values shows false as if nothing were chosen, so it holds words
            del field["type"]
            field["anyOf"] = [
                {"type": "string", "enum": ["true", "false"], "title": "menu"},
                {"type": "boolean"},
            ]


class Given(BaseModel):
    """Some of the params; what is not given is None."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", json_schema_extra=_without_values, hide_input_in_errors=True
    )

    @model_serializer(mode="wrap")
    def _what_is_given(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {name: value for name, value in dump(self).items() if value is not None}


def form(standing: Layer) -> type[Given]:
    """Return the type of what a run may be given, described with what params.yaml says now."""
    return _form(Params, complete(standing))


def _form(section: type[Section], standing: Any) -> type[Given]:
    says = standing if isinstance(standing, dict) else {}
    fields: dict[str, Any] = {}
    for name, field in section.model_fields.items():
        # most problems have nothing of their own to tune
        if field.annotation is not Section:
            fields[name] = _field(field, says.get(name))
    return create_model(section.__name__, __base__=Given, __doc__=section.__doc__, **fields)


def _field(field: FieldInfo, standing: Any) -> tuple[Any, Any]:
    """Return the type of a field that may be left empty, and its description."""
    kind: Any = field.annotation
    description = field.description
    if isinstance(kind, type) and issubclass(kind, Section):
        kind = _form(kind, standing)
    else:
        description = f"{re.sub('[Ee]mpty:', 'none:', str(description))} params.yaml: {word(standing)}."
        may_be_empty = type(None) in get_args(kind)
        if may_be_empty:
            (kind,) = (one for one in get_args(kind) if one is not type(None))
        is_text = str in (kind, *get_args(kind)[:1])
        if field.metadata:
            kind = Annotated[(kind, *field.metadata)]
        if may_be_empty and not is_text:
            kind = kind | Nothing
    left_empty = Annotated[None, SkipJsonSchema()]
    told = Field(description=description, validation_alias=field.validation_alias)
    return Annotated[kind | left_empty, told], None
