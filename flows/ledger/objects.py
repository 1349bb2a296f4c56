"""The objects of the DVC cache, which DVC takes on trust."""

from pathlib import Path, PurePosixPath

from dvc.output import Output

from tasks.errors import InputError


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
            f"{output}: its listing {output.hash_info.value} in the DVC cache cannot be read ({error}); run retrain check --repair"
        ) from None
    if listing is None:
        return
    folder = Path(output.fs_path)
    for parts, _, _ in listing:
        name = "/".join(parts)
        inside = PurePosixPath(name)
        climbs = any(part in ("", ".", "..") or "\\\\" in part or "\\0" in part for part in parts)
        if climbs or inside.is_absolute() or any((folder / parent).is_symlink() for parent in inside.parents if parent.name):
            raise InputError(
                f"{output}: its listing {output.hash_info.value} in the DVC cache names '{name}', which is outside the folder or behind a link; "
                "nothing was written. Delete that object and find out who wrote it"
            )
