"""Reading texts, writing small files, and hashing any, the same way everywhere."""

import codecs
import hashlib
import json
import math
import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from tasks.shared.errors import InputError

Json = Mapping[str, Any]
USUAL = "utf-8 and cp1252 are common"


def read_text(file: Path, name: str, encoding: str) -> str:
    """Decode somebody's text file, its byte order mark dropped; line ends stay as they are.

    name: what the file is called in a sentence. Raises InputError for an encoding that there is not, and with
    the line that is not written in it.
    """
    try:
        codec = codecs.lookup(encoding).name
    except (LookupError, ValueError):
        unknown = f"'{encoding}' is not an encoding Python knows"
        raise InputError(f"data.encoding: {unknown}; {USUAL}") from None
    raw = file.read_bytes()
    if b"\0" in raw[:65536] and not codec.startswith(("utf-16", "utf-32")):
        binary = f"looks binary (a NUL byte at {raw.index(0)}), not a text file"
        raise InputError(f"{name}: {binary}; check data.path and data.format")
    try:
        return raw.decode(codec).removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise InputError(
            f"{name}: line {line} is not valid {encoding} (byte 0x{raw[error.start : error.start + 1].hex()} "
            f"at {error.start}); "
            "save the file as UTF-8 or set data.encoding, for instance to cp1252"
        ) from None
    except (LookupError, UnicodeError):
        # what makes bytes of bytes, such as zip; what is for names on the network, such as punycode
        raise InputError(f"data.encoding: '{encoding}' is not an encoding of texts; {USUAL}") from None


def write_json(path: Path, value: Json) -> None:
    """Write `value` as indented JSON, floats rounded to six significant digits.

    That is short to read in a diff, and exact enough for any score. Raises InputError for NaN and infinity,
    with their place.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    where = _not_finite(value)
    if where is not None:
        said = f"{where} is no finite number, which no comparison can use"
        raise InputError(f"{path}: {said}; it is not written")
    text = json.dumps(rounded(value), indent=2, ensure_ascii=False, allow_nan=False)
    path.write_text(f"{text}\n", encoding="utf-8")


def _not_finite(value: Any, place: str = "value") -> str | None:
    """Return the place of the first NaN or infinity in `value`, such as `validation.loss nan`; or None."""
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
    """Return the SHA-256 of every file below `folder` by POSIX path, sorted; no hidden file or byte code."""
    found = {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        name = path.relative_to(folder)
        if not any(part.startswith((".", "__pycache__")) for part in name.parts):
            found[name.as_posix()] = sha256(path)
    return found


def folder_digest(folder: Path) -> str:
    """Return one SHA-256 for a folder's names and contents."""
    return hashlib.sha256(manifest(digests(folder)).encode()).hexdigest()


def manifest(files: Mapping[str, str]) -> str:
    """Return the SHA-256 of files by their names as `sha256sum` lists them."""
    return "".join(f"{digest}  {name}\n" for name, digest in files.items())


def made_once(folder: Path, write: Callable[[Path], object]) -> Path:
    """Return a folder, made by `write` if it is not there: whole or not at all, whoever else is making it."""
    if folder.exists():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(prefix=f"{folder.name}.", suffix=".part", dir=folder.parent))
    try:
        write(part)
        part.rename(folder)
    except OSError:
        # another process may have just made it
        if not folder.exists():
            raise
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return folder


def private_folder(folder: Path) -> Path:
    """Make a folder if it is not there, keep everybody but its owner out of it, and return it.

    Raises InputError where a link stands there that somebody else than this user and the owner of the folder
    around it has made: it may lead anywhere.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if folder.is_symlink() and folder.lstat().st_uid not in (os.geteuid(), folder.parent.stat().st_uid):
        raise InputError(f"{folder} is a link that another user has made; remove it")
    is_ = folder.stat()
    if is_.st_uid == os.geteuid() and stat.S_IMODE(is_.st_mode) & 0o077:
        folder.chmod(0o700)
    return folder


def own_folder(folder: Path) -> Path:
    """Make a folder of this user alone where others can make some too, such as in /tmp, and return it.

    Raises InputError where something else stands there, a link for instance, which may lead anywhere.
    """
    with suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError as error:
        raise _not_own(folder, error.strerror or str(error)) from None
    try:
        if os.fstat(descriptor).st_uid != os.geteuid():
            raise _not_own(folder, "it belongs to another one")
        os.fchmod(descriptor, 0o700)
    finally:
        os.close(descriptor)
    return folder


def _not_own(folder: Path, why: str) -> InputError:
    return InputError(f"{folder} is no folder of this user ({why}); remove it, or set TMPDIR on this machine")


def for_owner(path: str, flags: int) -> int:
    """Open a file for `open`, as its opener: a new one can be read by its owner alone."""
    return os.open(path, flags, 0o600)


def replace(path: Path, text: str, opener: Callable[[str, int], int] | None = None) -> None:
    """Write a file so that a kill at any moment leaves the old text or the new, never a part."""
    # several processes may write it at once
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    with open(part, "w", encoding="utf-8", opener=opener) as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)
