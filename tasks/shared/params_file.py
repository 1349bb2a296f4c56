"""Reading params.yaml, laying changes over it, and writing it back with its comments."""

import io
import re
import reprlib
from collections.abc import Iterable, Mapping, Sequence
from copy import deepcopy
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from tasks.shared.errors import InputError
from tasks.shared.files import replace
from tasks.shared.param_names import known_names, nearest
from tasks.shared.params import Params, problem_names
from tasks.shared.section import NONE
from tasks.shared.yaml_limits import why_not

PARAMS = Path("params.yaml")
# where params stand that commits, forms and files of before have elsewhere
MOVED = {
    "train.nproc_per_node": "train.distributed.nproc_per_node",
    "train.extra.torch_compile": "train.torch_compile",
}
# control characters but tab and line ends, and halves of surrogate pairs
UNWRITABLE = re.compile("[\0-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")
MOST_BITS = 4096
FEW = 4
# how much of a wrong value a sentence shows
SHOWN = reprlib.Repr()
SHOWN.maxstring = SHOWN.maxother = SHOWN.maxlong = 300


class Layer(NamedTuple):
    """Some of the params as they were written, and where: in a file, on the command line, in a form."""

    where: str
    values: Mapping[str, Any]


def load(path: Path = PARAMS) -> Params:
    """Return the params that stand in `path`; raise InputError naming each field that is wrong."""
    return lay_over(written_in(path))


def written_in(path: Path) -> Layer:
    """Return what stands in a file of params."""
    return Layer(str(path), read(path))


def read(path: Path) -> dict[str, Any]:
    """Return the mapping in a YAML file (YAML 1.2, as DVC reads it: 2e-5 is a number)."""
    try:
        text = path.read_text("utf-8")
    except FileNotFoundError:
        raise InputError(f"{path}: there is no such params file") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 at byte {error.start}; save it as UTF-8") from None
    return parsed(text, str(path))


def parsed(text: str, where: str) -> dict[str, Any]:
    """Return the mapping that stands in the text of a file of params; `where` says which, in errors."""
    if why := why_not(text):
        raise InputError(f"{where}: {why}; no params need that, so write it plainly")
    try:
        values = deepcopy(_parsed(text))
    except YAMLError as error:
        raise InputError(f"{where}: not valid YAML: {' '.join(str(error).split())}") from None
    except RecursionError:
        raise InputError(f"{where}: nested too deeply; no params need that, so write it plainly") from None
    if not isinstance(values, dict):
        raise InputError(f"{where}: expected sections such as 'train:', found {type(values).__name__}")
    return values


@lru_cache(maxsize=4)
def _parsed(text: str) -> Any:
    """Return what stands in YAML text. A run reads params.yaml several times, and parsing it takes 10 ms."""
    try:
        return YAML(typ="safe", pure=True).load(text)
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        # a scalar that is not what its tag or its digits say, or a depth that is none of params
        raise YAMLError(f"a value that Python cannot read ({type(error).__name__}: {error})") from None


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
        raise InputError(
            f"{place}: {SHOWN.repr(value)} holds a control character or half of one; leave it out"
        )
    if isinstance(value, int) and value.bit_length() > MOST_BITS:
        raise InputError(
            f"{place}: a number of more than {MOST_BITS} bits, which no param takes; write a smaller one"
        )


def lay_over(*layers: Layer) -> Params:
    """Return the params that these make, each laid over those before it, all of them over the defaults.

    Mappings are laid over each other entry by entry. A mapping that is given empty empties it, and an entry
    that is given as `none` goes. Raises InputError naming each field that is wrong, and where it was written.
    """
    for where, values in layers:
        refuse_unwritable(values, where)
    try:
        return Params.model_validate(_laid(layers))
    except ValidationError as error:
        sentences = [_sentence(wrong, _origin(wrong, layers)) for wrong in error.errors()]
        raise InputError("\n".join(sentences)) from None


def complete(layer: Layer) -> dict[str, Any]:
    """Return what params are before anything else is laid over them: the defaults where they say nothing."""
    return _over(Params.model_construct().model_dump(), _own_names(layer.values))


def replacing(standing: Layer, wanted: Layer) -> Layer:
    """Return what makes params what is wanted, whatever stands there: entries of its mappings go too."""
    old, new = complete(standing), complete(wanted)
    return Layer(wanted.where, {name: _instead(old.get(name), value) for name, value in new.items()})


def _instead(old: Any, new: Any) -> Any:
    if not (isinstance(old, dict) and isinstance(new, dict) and new):
        return new
    gone = dict.fromkeys(set(old) - set(new), NONE)
    return {name: _instead(old.get(name), value) for name, value in new.items()} | gone


def together(layers: Iterable[Layer]) -> dict[str, Any]:
    """Return what some params set, later ones laid over earlier ones."""
    changes: dict[str, Any] = {}
    for layer in layers:
        changes = _over(changes, _own_names(layer.values))
    return changes


def as_read(layers: Iterable[Layer], params: Params) -> dict[str, Any]:
    """Return what some params set, each value as it was read into `params`: a typed 0.003 is a number."""
    read: dict[str, Any] = _as_read(together(layers), params.model_dump())
    return read


def _as_read(written: Any, values: Any) -> Any:
    if isinstance(written, dict) and isinstance(values, dict):
        return {name: _as_read(value, values.get(name, value)) for name, value in written.items()}
    # what empties a param is the word none: in a form, nothing is what is not given
    return written if values is None else values


def _laid(layers: Sequence[Layer]) -> dict[str, Any]:
    laid = _over(complete(layers[0]), together(layers[1:]))
    for values in laid.values():
        for name, value in values.items() if isinstance(values, dict) else ():
            if isinstance(value, dict):
                values[name] = _without_none(value)
    return laid


def _origin(wrong: ErrorDetails, layers: Sequence[Layer]) -> str:
    """Return where that was written which is wrong: in the first of the layers from which on it is wrong."""
    where = layers[-1].where
    for number in range(len(layers) - 1, 0, -1):
        if _signature(wrong) not in map(_signature, _errors(layers[:number])):
            break
        where = layers[number - 1].where
    return where


def _errors(layers: Sequence[Layer]) -> list[ErrorDetails]:
    try:
        Params.model_validate(_laid(layers))
    except ValidationError as error:
        return error.errors()
    return []


def _signature(wrong: ErrorDetails) -> tuple[str, ...]:
    """Return what tells an error from others; of fields that do not fit, it is the sentence."""
    is_one_value = not isinstance(wrong["input"], dict | BaseModel)
    return (wrong["type"], str(wrong["loc"]), wrong["msg"], repr(wrong["input"]) if is_one_value else "")


def _own_names(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return params under their fields' own names; one that is given under two keeps both, to be refused.

    What is given as nothing is given as the word none: in a form, nothing is what is not given.
    """
    own = known_names()
    named: dict[str, Any] = {}
    for section, fields in values.items():
        named[section] = fields
        if isinstance(fields, dict):
            named[section] = {}
            for name, value in fields.items():
                field = own.get(f"{section}.{name}", "").rpartition(".")[2]
                own_name = field if field and field not in fields else name
                named[section][own_name] = NONE if value is None else value
    return _in_their_places(named)


def _in_their_places(named: dict[str, Any]) -> dict[str, Any]:
    """Return params with those that have MOVED where they are now; what is given there wins."""
    moved = deepcopy(named)
    for before, now in MOVED.items():
        *way, old_name = before.split(".")
        *new_way, new_name = now.split(".")
        held, above = _mapping(moved, way), _mapping(moved, way[:-1])
        if old_name not in held:
            continue
        value = held.pop(old_name)
        if not held:
            # given empty, it would empty what is laid below it
            del above[way[-1]]
        _mapping(moved, new_way, make=True).setdefault(new_name, value)
    return moved


def _mapping(values: dict[str, Any], way: Sequence[str], *, make: bool = False) -> dict[str, Any]:
    """Return the mapping inside others that these names lead to; an empty one where they lead to none.

    make: put one there where nothing is.
    """
    for name in way:
        if make:
            values.setdefault(name, {})
        found = values.get(name)
        values = found if isinstance(found, dict) else {}
    return values


def _over(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return params by section with others over them; the revision of another model goes."""
    laid = {**base}
    for section, change in changes.items():
        old = laid.get(section)
        if not (isinstance(old, dict) and isinstance(change, dict)):
            laid[section] = change
            continue
        laid[section] = {**old}
        for name, value in change.items():
            laid[section][name] = _laid_over(old.get(name), value)
        is_other = section == "model" and old.get("name", change.get("name")) != laid[section].get("name")
        if is_other and "revision" not in change:
            laid[section]["revision"] = None
    return laid


def _laid_over(old: Any, new: Any) -> Any:
    """Return what a value becomes: another one, or a mapping in which some entries are others.

    A model of another type has none of the sizes of the one before.
    """
    if not (isinstance(old, dict) and isinstance(new, dict) and new):
        return new
    if "type" in new and new["type"] != old.get("type"):
        return new
    return {**old, **new}


def _without_none(mapping: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in mapping.items() if value != NONE}


def differences(
    old: Mapping[str, Any], new: Mapping[str, Any], prefix: str = ""
) -> list[tuple[str, Any, Any]]:
    """Return (name, old, new) for each param in which two nested mappings differ; None is not there."""
    found: list[tuple[str, Any, Any]] = []
    for name in [*new, *(name for name in old if name not in new)]:
        before, after = old.get(name), new.get(name)
        if isinstance(before, dict) and isinstance(after, dict):
            found += differences(before, after, f"{prefix}{name}.")
        elif before != after and word(before) != word(after):
            found.append((f"{prefix}{name}", before, after))
    return found


def in_words(values: list[tuple[str, Any, Any]]) -> str:
    """Return differences as people read them: train.max_steps -1 -> 20, split.time_column none -> when.

    A few stand in a line; more have one each.
    """
    told = [f"{name} {word(old)} -> {word(new)}" for name, old, new in values]
    return ", ".join(told) if len(told) <= FEW else "".join(f"\n  {one}" for one in told)


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
    there = read(path) if path.exists() else {}
    values = params.values() | {name: params.model_dump()[name] for name in problem_names() if name in there}
    if there == values:
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


def _sentence(wrong: ErrorDetails, where: str) -> str:
    """Turn an entry of pydantic's report into a sentence: what, where, which value, and what is allowed."""
    name = ".".join(str(part) for part in wrong["loc"])
    if wrong["type"] == "extra_forbidden":
        return f"{where}: {_unknown(name)}"
    message = wrong["msg"].removeprefix("Value error, ")
    if wrong["type"] == "value_error":
        return f"{where}: {name}: {message}" if name else f"{where}: {message}"
    return f"{where}: {name}: {SHOWN.repr(wrong['input'])} is not allowed: {message[0].lower()}{message[1:]}"


def _unknown(name: str) -> str:
    """Return what is wrong with the name of a param: nobody knows it, or another name of it is given too."""
    known = known_names()
    if name in known:
        return f"{name} and {known[name]} are the same param; give one of them"
    near = nearest(name, known)
    hint = f"; did you mean '{near}'?" if near else ""
    return f"there is no param '{name}'{hint}"
