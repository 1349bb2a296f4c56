"""What stands in a CTranslate2 file: its kind of model, and its variables as arrays.

The format (little-endian): version u32, kind of model, its revision u32, how many variables u32. Each: name,
rank u8, that many dimensions u32, type u8, bytes u32, data. Then how many aliases u32, each a name and the
variable's. A text is its length u16, with the zero that ends it. Nothing that a file says is believed: each
number is held against the bytes that are there.
"""

import math
import mmap
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tasks.shared.errors import InputError, readable

if TYPE_CHECKING:
    import numpy as np

FILE = "model.bin"
VERSIONS = range(5, 7)
# by the number that stands for it; bfloat16 is none of numpy's
TYPES = {0: "float32", 1: "int8", 2: "int16", 3: "int32", 4: "float16", 5: "bfloat16"}
SIZES = {"float32": 4, "int8": 1, "int16": 2, "int32": 4, "float16": 2, "bfloat16": 2}
MOST_DIMENSIONS = 8
# bytes by which a file is known: its version, and the length and name of its kind
START = 64


@dataclass
class Variables:
    """The variables of a file by their names, and by what type they were stored."""

    kind: str
    arrays: "dict[str, np.ndarray]"
    types: dict[str, str]


class _DamageError(ValueError):
    """What of a file cannot be."""


class _Bytes:
    """Bytes that are read from the front to the back, and not beyond."""

    def __init__(self, content: memoryview) -> None:
        self.content, self.at = content, 0

    def take(self, count: int) -> memoryview:
        if count > len(self.content) - self.at:
            raise _DamageError(
                f"it ends at byte {len(self.content)}, and {count} more are to stand at {self.at}"
            )
        self.at += count
        return self.content[self.at - count : self.at]

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size).tobytes(), "little")

    def text(self) -> str:
        found = self.take(self.number(2)).tobytes()
        if not found.endswith(b"\0") or not found[:-1].isascii() or not found[:-1]:
            raise _DamageError(f"at byte {self.at} there is no name, but {readable(repr(found[:40]))}")
        return found[:-1].decode("ascii")


def is_one(folder: Path) -> bool:
    """Return whether a folder holds a model that CTranslate2 reads, of any kind."""
    return kind(folder) is not None


def kind(folder: Path) -> str | None:
    """Return the kind of model that a folder's model.bin holds; None where it is no file of CTranslate2's."""
    file = folder / FILE
    if not file.is_file():
        return None
    with file.open("rb") as opened:
        start = _Bytes(memoryview(opened.read(START)))
    try:
        # a pickle of torch begins as a ZIP archive does
        return start.text() if start.number(4) in VERSIONS else None
    except _DamageError:
        return None


def read(file: Path) -> Variables:
    """Return what a file holds; its arrays are mapped, not read. Raises InputError for a damaged file."""
    try:
        with file.open("rb") as opened:
            content = mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ)
        return _read(_Bytes(memoryview(content)))
    except (_DamageError, OSError, ValueError) as error:
        said = f"{file} is damaged, or no file of CTranslate2's: {error}"
        raise InputError(f"model.name: {said}; install or copy it again, or name another model") from None


def _read(content: _Bytes) -> Variables:
    version = content.number(4)
    if version not in VERSIONS:
        raise _DamageError(f"its version is {version}, and known are {VERSIONS.start} to {VERSIONS.stop - 1}")
    found = Variables(content.text(), {}, {})
    content.number(4)
    for _ in range(content.number(4)):
        name = content.text()
        if name in found.arrays:
            raise _DamageError(f"{name} stands there twice")
        found.arrays[name], found.types[name] = _variable(name, content)
    for _ in range(content.number(4)):
        name, its = content.text(), content.text()
        if name in found.arrays or its not in found.arrays:
            raise _DamageError(f"{name} is another name of {its}, which cannot be")
        found.arrays[name], found.types[name] = found.arrays[its], found.types[its]
    if content.at != len(content.content):
        raise _DamageError(f"{len(content.content) - content.at} bytes stand behind its end")
    return found


def _variable(name: str, content: _Bytes) -> "tuple[np.ndarray, str]":
    # every command imports this module, and numpy takes a tenth of its time
    import numpy as np

    rank = content.number(1)
    if rank > MOST_DIMENSIONS:
        raise _DamageError(f"{name} has {rank} dimensions")
    shape = [content.number(4) for _ in range(rank)]
    number, size = content.number(1), content.number(4)
    type_ = TYPES.get(number)
    if type_ is None:
        raise _DamageError(f"{name} is of type {number}, which is not known")
    if math.prod(shape) * SIZES[type_] != size:
        raise _DamageError(f"{name} has {size} bytes, and {shape} numbers of {type_} are to be there")
    data = content.take(size)
    stored = np.dtype("<u2") if type_ == "bfloat16" else np.dtype(type_)
    return np.frombuffer(data, stored).reshape(shape), type_
