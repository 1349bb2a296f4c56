"""Listings of folders in the DVC cache, which DVC takes on trust."""

from pathlib import Path

from dvc.output import Output
from dvc_data.hashfile.db import HashFileDB
from dvc_data.hashfile.hash_info import HashInfo
from dvc_data.hashfile.tree import Tree

from flows.ledger.validation import ForgedError, is_hash, wrong_listing
from tasks.shared.errors import InputError


def refuse_climbing(output: Output) -> None:
    """Raise InputError when a folder's listing cannot be read, and ForgedError when it is forged.

    A forged one names a file outside the folder or behind a link, or has a hash that is none. Whoever can
    write to a cache or remote could otherwise have a checkout write anywhere, and DVC delete what it takes
    for damaged.
    """
    if not (output.hash_info and output.hash_info.isdir):
        return
    which = f"{output}: its listing {output.hash_info.value} in the DVC cache"
    try:
        listing = output.get_obj()
    except Exception as error:  # noqa: BLE001 (a listing that is damaged raises whatever its bytes provoke)
        raise InputError(f"{which} cannot be read ({error}); run `retrain check --repair`") from None
    if listing is not None and (wrong := wrong_listing(Path(output.fs_path), listing)):
        remedy = "nothing was written. Delete that object and find out who wrote it"
        raise ForgedError(f"{which} {wrong}; {remedy}")


def listed(cache: HashFileDB, digest: str, *folders: Path) -> dict[str, str] | None:
    """Return the hashes of the files that a listing in the cache names, by their paths in the folder.

    None when there is no such listing, what stands there is none, or it may not be checked out to `folders`.
    """
    try:
        tree = Tree.load(cache, HashInfo("md5", digest))
        if any(wrong_listing(folder, tree) for folder in folders):
            return None
        return {"/".join(parts): str(info.value) for parts, _, info in tree}
    except Exception:  # noqa: BLE001 (a listing that is damaged or forged raises whatever its bytes provoke)
        return None


def file_in(cache: HashFileDB, digest: str, name: str) -> Path | None:
    """Return where the cache keeps a file of the folder that a listing names; None when it does not."""
    found = (listed(cache, digest) or {}).get(name)
    path = Path(cache.oid_to_path(found)) if is_hash(found) else None
    return path if path and path.exists() else None
