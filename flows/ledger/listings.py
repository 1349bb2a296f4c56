"""Listings of folders in the DVC cache, which DVC takes on trust."""

from pathlib import Path

from dvc.output import Output
from dvc_data.hashfile.db import HashFileDB
from dvc_data.hashfile.hash_info import HashInfo
from dvc_data.hashfile.tree import Tree

from flows.ledger.validation import ForgedError, wrong_listing
from tasks.shared.errors import InputError


def refuse_climbing(output: Output) -> None:
    """Raise InputError when a folder's listing names a file outside it or behind a link, or has a hash that is none.

    Whoever can write to a cache or remote could otherwise have a check-out write anywhere, and DVC delete
    what it takes for damaged.
    """
    if not (output.hash_info and output.hash_info.isdir):
        return
    try:
        listing = output.get_obj()
    except Exception as error:  # noqa: BLE001 (a listing that is damaged raises whatever its bytes provoke)
        raise InputError(
            f"{output}: its listing {output.hash_info.value} in the DVC cache cannot be read ({error}); run `retrain check --repair`"
        ) from None
    if listing is not None and (wrong := wrong_listing(output, listing)):
        raise ForgedError(
            f"{output}: its listing {output.hash_info.value} in the DVC cache {wrong}; "
            "nothing was written. Delete that object and find out who wrote it"
        )


def file_in(cache: HashFileDB, digest: str, name: str) -> Path | None:
    """Return where the cache keeps a file of the folder that a listing names; None when it does not, or the listing is damaged or forged."""
    try:
        tree = Tree.load(cache, HashInfo("md5", digest))
        found = Path(cache.oid_to_path(next(info.value for parts, _, info in tree if parts == (name,))))
    except Exception:  # noqa: BLE001 (there is nothing to compare with then, and `retrain check` says which)
        return None
    return found if found.exists() else None
