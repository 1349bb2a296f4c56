"""Reading params.yaml, laying changes over it, and writing it back with its comments."""

import io
from collections.abc import Mapping
from copy import deepcopy
from functools import lru_cache
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from tasks.errors import InputError
from tasks.files import replace
from tasks.names import names, nearest
from tasks.params import Params

PARAMS = Path("params.yaml")


def load(path: Path = PARAMS) -> Params:
    """Return the params that stand in `path`; raise InputError naming each field that is wrong."""
    return validated(read(path), str(path))


def read(path: Path) -> dict[str, Any]:
    """Return the mapping in a YAML file (YAML 1.2, as DVC reads it: 2e-5 is a number)."""
    try:
        text = path.read_text("utf-8")
    except FileNotFoundError:
        raise InputError(f"{path}: there is no such params file") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 at byte {error.start}; save it as UTF-8") from None
    try:
        values = deepcopy(_parsed(text))
    except YAMLError as error:
        raise InputError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(values, dict):
        raise InputError(f"{path}: expected sections such as 'train:', found {type(values).__name__}")
    return values


@lru_cache(maxsize=4)
def _parsed(text: str) -> Any:
    """Return what stands in YAML text. A run reads params.yaml several times, and parsing it takes 10 ms."""
    return YAML(typ="safe", pure=True).load(text)


def validated(values: Mapping[str, Any], where: str, *, whole: bool = True) -> Params:
    """Return `values` as Params; raise InputError with one sentence per wrong field.

    whole: check also what fields must be to each other; a part that is still to be laid over others cannot know.
    """
    try:
        return Params.model_validate(values, context={"whole": whole})
    except ValidationError as error:
        raise InputError(explain(error, where)) from None


def given(values: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Return only what `values` sets, under the fields' own names: {"train": {"learning_rate": 2e-5}}."""
    return validated(values, where, whole=False).model_dump(exclude_unset=True)


def lay_over(base: Params, changes: Mapping[str, Any], where: str) -> Params:
    """Return `base` with `changes` (as `given` returns them) laid over it, section by section."""
    merged = base.model_dump()
    for name, change in changes.items():
        merged[name] = {**merged[name], **change} if isinstance(change, dict) else change
    return validated(merged, where)


def save(params: Params, path: Path = PARAMS) -> bool:
    """Write `params` into `path`, keeping its comments; return whether anything changed. Atomic."""
    text = written(params, path)
    if text is not None:
        replace(path, text)
    return text is not None


def written(params: Params, path: Path = PARAMS) -> str | None:
    """Return the text that `save` would write, or None when it would change nothing."""
    values = params.model_dump()
    if path.exists() and read(path) == values:
        return None
    yaml = YAML()
    yaml.width = 10_000
    document = yaml.load(path.read_text("utf-8")) if path.exists() else {}
    _update(document, values)
    text = io.StringIO()
    yaml.dump(document, text)
    return text.getvalue()


def _update(document: dict[str, Any], values: Mapping[str, Any]) -> None:
    """Set in `document` what differs from `values`, in place."""
    for key, value in values.items():
        old = document.get(key)
        if isinstance(value, dict) and isinstance(old, dict):
            for gone in set(old) - set(value):
                del old[gone]
            _update(old, value)
        elif key not in document or old != value:
            document[key] = value


def explain(error: ValidationError, where: str) -> str:
    """Turn pydantic's report into sentences: what, where, which value, and what is allowed."""
    return "\n".join(_sentence(item["type"], item["loc"], item["msg"], item["input"], where) for item in error.errors())


def _sentence(kind: str, loc: tuple[int | str, ...], message: str, value: object, where: str) -> str:
    name = ".".join(str(part) for part in loc)
    if kind == "extra_forbidden":
        return f"{where}: {_unknown(name)}"
    message = message.removeprefix("Value error, ")
    if kind == "value_error":
        return f"{where}: {name}: {message}" if name else f"{where}: {message}"
    return f"{where}: {name}: {value!r} is not allowed: {message[0].lower()}{message[1:]}"


def _unknown(name: str) -> str:
    """Return what is wrong with the name of a param: nobody knows it, or the same param is given under two names."""
    known = dict(names())
    if name in known:
        return f"{name} and {known[name]} are the same param; give one of them"
    near = nearest(name, known)
    hint = f"; did you mean '{near}'?" if near else ""
    return f"there is no param '{name}'{hint}"
