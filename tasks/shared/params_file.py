"""Reading params.yaml, laying changes over it, and writing it back with its comments."""

import io
import re
import reprlib
from collections.abc import Mapping
from copy import deepcopy
from functools import lru_cache
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from tasks.shared.errors import InputError
from tasks.shared.files import replace
from tasks.shared.param_names import names, nearest
from tasks.shared.params import NONE, Params
from tasks.shared.yaml_limits import why_not

PARAMS = Path("params.yaml")
# control characters but tab and line ends, and halves of surrogate pairs
UNWRITABLE = re.compile("[\0-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")
MOST_BITS = 4096
# how much of a wrong value a sentence shows
SHOWN = reprlib.Repr()
SHOWN.maxstring = SHOWN.maxother = SHOWN.maxlong = 300


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
    if why := why_not(text):
        raise InputError(f"{path}: {why}; no params need that, so write it plainly")
    try:
        values = deepcopy(_parsed(text))
    except YAMLError as error:
        raise InputError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from None
    except RecursionError:
        raise InputError(f"{path}: nested too deeply; no params need that, so write it plainly") from None
    if not isinstance(values, dict):
        raise InputError(f"{path}: expected sections such as 'train:', found {type(values).__name__}")
    return values


@lru_cache(maxsize=4)
def _parsed(text: str) -> Any:
    """Return what stands in YAML text. A run reads params.yaml several times, and parsing it takes 10 ms."""
    try:
        return YAML(typ="safe", pure=True).load(text)
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        # a scalar that is not what its tag or its digits say, or a depth that is none of params
        raise YAMLError(f"a value that Python cannot read ({type(error).__name__}: {error})") from None


def validated(values: Mapping[str, Any], where: str, *, whole: bool = True) -> Params:
    """Return `values` as Params; raise InputError with one sentence per wrong field.

    whole: check also what fields must be to each other; a part that is still to be laid over others cannot know.
    """
    refuse_unwritable(values, where)
    try:
        return Params.model_validate(values, context={"whole": whole})
    except ValidationError as error:
        raise InputError(explain(error, where)) from None


def refuse_unwritable(values: object, where: str) -> None:
    """Raise InputError for what YAML, JSON or a command line can spell, and no file of params can hold.

    That is half a character or a control character in a text or a name, and a number of thousands of digits.
    """
    waiting, seen = [("", values)], set()
    while waiting:
        name, value = waiting.pop()
        _refuse_unwritable_one(value, f"{where}: {name}")
        if not isinstance(value, (dict, list, tuple)) or id(value) in seen:
            continue
        # what stands in several places, or in itself, is looked at once
        seen.add(id(value))
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            _refuse_unwritable_one(key, f"{where}: a name in {name or 'it'}")
            waiting.append((f"{name}.{key}" if name else str(key), item))


def _refuse_unwritable_one(value: object, place: str) -> None:
    if isinstance(value, str) and UNWRITABLE.search(value):
        raise InputError(f"{place}: {SHOWN.repr(value)} holds a control character or half of one; leave it out")
    if isinstance(value, int) and value.bit_length() > MOST_BITS:
        raise InputError(f"{place}: a number of more than {MOST_BITS} bits, which no param takes; write a smaller one")


def given(values: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Return only what `values` sets, under the fields' own names: {"train": {"learning_rate": 2e-5}}."""
    return validated(values, where, whole=False).model_dump(exclude_unset=True)


def lay_over(base: Params, changes: Mapping[str, Any], where: str) -> Params:
    """Return `base` with `changes` (as `given` returns them) laid over it, mappings entry by entry.

    A mapping that is given empty empties it, and an entry that is given as `none` goes. Another model has another
    content: the old revision goes with the old name.
    """
    values = over(base.model_dump(), changes)
    values["data"]["columns"] = _without_none(values["data"]["columns"])
    values["train"]["extra"] = _without_none(values["train"]["extra"])
    return validated(values, where)


def over(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return params by section with others over them; either may be a part."""
    laid = {**base}
    for section, change in changes.items():
        old = laid.get(section, {})
        if isinstance(change, dict):
            laid[section] = {**old}
            for name, value in change.items():
                laid[section][name] = _laid_over(old.get(name), value)
        else:
            laid[section] = change
    model, name = changes.get("model", {}), base.get("model", {}).get("name")
    if name is not None and model.get("name", name) != name and "revision" not in model:
        laid["model"]["revision"] = None
    return laid


def _laid_over(old: Any, new: Any) -> Any:
    """Return what a value becomes: another one, or a mapping in which some entries are others."""
    if not (isinstance(old, dict) and isinstance(new, dict) and new):
        return new
    return {**old, **new}


def _without_none(mapping: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in mapping.items() if value != NONE}


def differences(old: Mapping[str, Any], new: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any, Any]]:
    """Return (name, old, new) for each param in which two nested mappings differ; what is not there is None."""
    found: list[tuple[str, Any, Any]] = []
    for name in [*new, *(name for name in old if name not in new)]:
        before, after = old.get(name), new.get(name)
        if isinstance(before, dict) and isinstance(after, dict):
            found += differences(before, after, f"{prefix}{name}.")
        elif before != after:
            found.append((f"{prefix}{name}", before, after))
    return found


def in_words(values: list[tuple[str, Any, Any]]) -> str:
    """Return differences as people read them: train.max_steps -1 -> 20, split.time_column none -> when."""
    return ", ".join(f"{name} {word(old)} -> {word(new)}" for name, old, new in values)


def word(value: Any) -> str:
    """Return a value as it is typed."""
    if value is None or value == {}:
        return NONE
    return str(value).lower() if isinstance(value, bool) else str(value)


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
    return f"{where}: {name}: {SHOWN.repr(value)} is not allowed: {message[0].lower()}{message[1:]}"


def _unknown(name: str) -> str:
    """Return what is wrong with the name of a param: nobody knows it, or the same param is given under two names."""
    known = dict(names())
    if name in known:
        return f"{name} and {known[name]} are the same param; give one of them"
    near = nearest(name, known)
    hint = f"; did you mean '{near}'?" if near else ""
    return f"there is no param '{name}'{hint}"
