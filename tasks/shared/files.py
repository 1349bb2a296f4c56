"""Writing small files, and hashing any, the same way everywhere."""

import hashlib
import json
import math
import os
import stat
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from tasks.shared.errors import InputError

Json = Mapping[str, Any]


def write_json(path: Path, value: Json) -> None:
    """Write `value` as indented JSON, floats rounded to six significant digits.

    That is short to read in a diff, and exact enough for any score. Raises InputError for NaN and infinity, with their place.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    where = _not_finite(value)
    if where is not None:
        raise InputError(f"{path}: {where} is no finite number, which no comparison can use; it is not written")
    text = json.dumps(rounded(value), indent=2, ensure_ascii=False, allow_nan=False)
    path.write_text(f"{text}\n", encoding="utf-8")


def _not_finite(value: Any, place: str = "value") -> str | None:
    """Return the place of the first NaN or infinity inside `value`, such as `validation.loss nan`; or None."""
    if isinstance(value, float):
        return None if math.isfinite(value) else f"{place} {value}"
    inside: Iterable[tuple[Any, Any]] = ()
    if isinstance(value, Mapping):
        inside = value.items()
    elif isinstance(value, (list, tuple)):
        inside = enumerate(value)
    for key, item in inside:
        found = _not_finite(item, str(key) if place == "value" else f"{place}.{key}")
        if found is not None:
            return found
    return None


def read_json(path: Path) -> Any:
    """Return what a JSON file holds."""
    return json.loads(path.read_text("utf-8"))


def rounded(value: Any) -> Any:
    """Round every float inside `value` to six significant digits."""
    if isinstance(value, float):
        return float(f"{value:.6g}")
    if isinstance(value, Mapping):
        return {key: rounded(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [rounded(item) for item in value]
    return value


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file as 64 hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digests(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of every file below `folder` by its POSIX path, sorted; hidden files and byte code left out."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    names = {path.relative_to(folder).as_posix(): path for path in files}
    return {name: sha256(path) for name, path in names.items() if not any(part.startswith((".", "__pycache__")) for part in name.split("/"))}


def folder_digest(folder: Path) -> str:
    """Return one SHA-256 for a folder's names and contents."""
    listing = "".join(f"{digest}  {name}\n" for name, digest in digests(folder).items())
    return hashlib.sha256(listing.encode()).hexdigest()


def private_folder(folder: Path) -> Path:
    """Make a folder if it is not there, keep everybody but its owner out of it, and return it."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    is_ = folder.stat()
    if is_.st_uid == os.geteuid() and stat.S_IMODE(is_.st_mode) & 0o077:
        folder.chmod(0o700)
    return folder


def for_owner(path: str, flags: int) -> int:
    """Open a file for `open`, as its opener: a new one can be read by its owner alone."""
    return os.open(path, flags, 0o600)


def replace(path: Path, text: str) -> None:
    """Write a file so that a kill at any moment leaves the old text or the new, never a part."""
    part = path.with_name(f".{path.name}.part")
    with part.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)
