"""The objects of the DVC cache, which DVC takes on trust."""

from dvc.output import Output

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
