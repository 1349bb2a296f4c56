"""The one kind of error that a user can cause and mend."""

import difflib
import re
from collections.abc import Iterable


class InputError(ValueError):
    """Something the user gave is wrong: one sentence saying what, where, which value, and what to do."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return `; did you mean 'x'?` for the closest known name, or an empty string."""
    close = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean '{close[0]}'?" if close else ""


def without_password(text: str) -> str:
    """Return the text without the user names and passwords of the URLs in it."""
    return re.sub(r"://[^/\s]+@", "://***@", text)
