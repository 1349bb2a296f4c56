"""Why a stage has something to do: in words, and as the values that differ."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from dvc.dependency import ParamsDependency
from dvc.output import Output
from dvc_data.hashfile.hash_info import HashInfo
from dvc_data.hashfile.meta import Meta

PINS = "pins.yaml"
MISSING = object()


@dataclass(frozen=True)
class Reason:
    """One thing that differs from what dvc.lock records.

    kind: param, pin, file (a module), input, output, command or new.
    old, new: values of params and pins, short hashes of files.
    """

    kind: str
    name: str
    text: str
    old: Any = None
    new: Any = None


def differences(dependency: ParamsDependency, now: Mapping[str, Any]) -> Iterator[Reason]:
    """Yield each param or pin whose value is not the recorded one."""
    is_pins = dependency.def_path == PINS
    for key, old, new in _leaves("", dependency.hash_info.value or {}, now):
        name = key.removeprefix("core.") if is_pins else key
        if new is MISSING:
            text = f"{name} is gone, was {_word(old)}"
        elif old is MISSING:
            text = f"{name} is new: {_word(new)}"
        else:
            text = f"{name} {_word(old)} -> {_word(new)}"
        values = [None if value is MISSING else value for value in (old, new)]
        yield Reason("pin" if is_pins else "param", name, f"pinned {text}" if is_pins else text, *values)


def content(dependency: Output, path: str) -> tuple[HashInfo, Meta]:
    """Return the hash of a file or folder as DVC takes it for the content of a dependency."""
    ignore = dependency.dvcignore if path == dependency.fs_path else None
    _, meta, found = dependency._build(  # noqa: SLF001 (as Output.save does)
        dependency.local_cache, path, dependency.fs, dependency.hash_name, ignore=ignore, dry_run=True
    )
    return found.hash_info, meta


def short(identity: str | None) -> str | None:
    """Return the first digits of a hash, enough to tell two apart."""
    return identity and identity[:7]


def _leaves(prefix: str, old: Any, new: Any) -> Iterator[tuple[str, Any, Any]]:
    """Yield name, old and new value of all that differs, down to single values."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for key in dict.fromkeys([*new, *old]):
            name = f"{prefix}.{key}" if prefix else str(key)
            yield from _leaves(name, old.get(key, MISSING), new.get(key, MISSING))
    elif old != new:
        yield prefix, old, new


def _word(value: Any) -> str:
    return "none" if value is None else str(value)
