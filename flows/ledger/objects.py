"""The objects of the DVC cache, which DVC takes on trust."""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from dvc.output import Output
from dvc.stage import PipelineStage

from tasks.errors import InputError

SHORT = 2048  # bytes of a listing, some twenty files: all its one-byte changes are tried within seconds


def climbs(parts: Sequence[str]) -> bool:
    """Return whether a name from a folder's listing, split at its slashes, may lead out of the folder.

    An absolute name has an empty first part; a backslash separates folders elsewhere, and a NUL ends a name early.
    """
    return any(part in ("", ".", "..") or "\\" in part or "\0" in part for part in parts)


def behind_link(folder: Path, parts: Sequence[str]) -> bool:
    """Return whether a name that does not climb would be reached through a symbolic link below `folder`."""
    return any((folder / parent).is_symlink() for parent in PurePosixPath(*parts).parents if parent.name)


def corrected(raw: bytes, digest: str) -> bytes | None:
    """Return the bytes with the given MD5 that differ from `raw` in one byte; None when there are none, or `raw` is too long to try all.

    A short listing in which a bit has flipped is thereby known again, without any copy of it.
    """
    if len(raw) > SHORT:
        return None
    before = hashlib.md5(usedforsecurity=False)
    for position in range(len(raw)):
        after = raw[position + 1 :]
        for byte in range(256):
            attempt = before.copy()
            attempt.update(bytes([byte]) + after)
            if attempt.hexdigest() == digest:
                return raw[:position] + bytes([byte]) + after
        before.update(raw[position : position + 1])
    return None


def refuse_climbing(output: Output) -> None:
    """Raise InputError when a folder's listing names a file outside the folder, or one reached through a link.

    Whoever can write to a cache or remote could otherwise have a check-out write anywhere.
    """
    if not (output.hash_info and output.hash_info.isdir):
        return
    try:
        listing = output.get_obj()
    except Exception as error:  # noqa: BLE001 (a listing that is damaged raises whatever its bytes provoke)
        raise InputError(
            f"{output}: its listing {output.hash_info.value} in the DVC cache cannot be read ({error}); run `retrain check --repair`"
        ) from None
    if listing is None:
        return
    folder = Path(output.fs_path)
    for parts, _, _ in listing:
        if climbs(parts) or behind_link(folder, parts):
            name = "/".join(parts)
            raise InputError(
                f"{output}: its listing {output.hash_info.value} in the DVC cache names {name!r}, which is outside the folder or behind a link; "
                "nothing was written. Delete that object and find out who wrote it"
            )


def refuse_elsewhere(stage: PipelineStage, entry: Mapping[str, Any]) -> None:
    """Raise InputError when a record of the run-cache names other outputs than the stage has: they could lie anywhere."""
    theirs, ours = {output["path"] for output in entry["outs"]}, {output.def_path for output in stage.outs}
    if theirs != ours:
        raise InputError(
            f"{stage.name}: a record of it in the run-cache names {min(theirs ^ ours)!r}, which is not what dvc.yaml has it write; "
            "nothing was written. Delete that record (`retrain check --repair` does) and find out who wrote it"
        )
