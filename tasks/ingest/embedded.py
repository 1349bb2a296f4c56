"""Pictures and sounds whose bytes stand in a table, as `datasets` and the hub have them: {bytes, path}.

Each is written into a file called by its SHA-256, below one folder, and its row names that; from there on it
is a file like any other.
"""

import hashlib
import re
from pathlib import Path, PurePosixPath

import pyarrow as pa
import pyarrow.types as is_

from tasks.ingest.arrow_types import is_bytes

# rows at a time: each may have megabytes
AT_ONCE = 64
FOLDER = "embedded"
# what a row names, and what its path said
NAMED = re.compile(rf"{FOLDER}/(?P<digest>[0-9a-f]{{64}})/(?P<name>[^/]+)")
# characters of a name
LONGEST = 200


def is_embedded(kind: pa.DataType) -> bool:
    """Return whether cells of a type hold a file: its bytes, or an object of these and of where it lay."""
    kind = getattr(kind, "storage_type", kind)
    if is_.is_struct(kind):
        fields = {field.name: field.type for field in kind}
        path = fields.pop("path", pa.string())
        return [*fields] == ["bytes"] and is_bytes(fields["bytes"]) and _is_text(path)
    return is_bytes(kind)


def _is_text(kind: pa.DataType) -> bool:
    return bool(is_.is_string(kind) or is_.is_large_string(kind) or is_.is_null(kind))


def is_text(column: pa.Array) -> bool:
    """Return whether all that cells of bytes hold is text, as old writers of Parquet have it."""
    if is_.is_struct(getattr(column.type, "storage_type", column.type)):
        return False
    try:
        return not any("\0" in cell.decode() for cell in column.drop_null().to_pylist())
    except UnicodeDecodeError:
        return False


def kept_apart(column: pa.Array, first: int, folder: Path) -> pa.Array:
    """Write what cells hold into files below `folder`, and return what rows say of them instead, as text.

    A cell that has a path alone says that path; one that has nothing is null. first: the first row's number.
    """
    folder.mkdir(parents=True, exist_ok=True)
    said = []
    for row, cell in enumerate(column.to_pylist(), first):
        held = cell if isinstance(cell, dict) else {"bytes": cell}
        said.append(_said(held.get("bytes"), held.get("path"), row, folder))
    return pa.array(said, pa.large_string())


def _said(content: bytes | None, path: str | None, row: int, folder: Path) -> str | None:
    if content is None:
        return path
    digest = hashlib.sha256(content).hexdigest()
    (folder / digest).write_bytes(content)
    name = PurePosixPath(path or "").name[-LONGEST:] or f"row {row}"
    return f"{FOLDER}/{digest}/{name}"


def place(said: str, folder: Path) -> Path | None:
    """Return the file that a row means, when it means one that stood in a table."""
    found = NAMED.fullmatch(said)
    return folder / found["digest"] if found else None
