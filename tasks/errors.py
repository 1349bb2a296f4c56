"""The one kind of error that a user can cause and mend."""

import difflib
import re
from collections.abc import Iterable


class InputError(ValueError):
    """Something the user gave is wrong: one sentence saying what, where, which value, and what to do.

    It can be printed and kept anywhere: half characters and control characters of what it quotes are spelled out.
    """

    def __init__(self, sentence: str) -> None:
        super().__init__("\n".join(map(_printable, sentence.split("\n"))))


def _printable(line: str) -> str:
    """Return a line as a terminal, a database and JSON can take it."""
    if line.isprintable():
        return line
    return "".join(sign if sign.isprintable() else repr(sign)[1:-1] for sign in line)


def readable(name: str) -> str:
    """Return a file's name as it can be printed: on one line, what is not UTF-8 replaced."""
    return " ".join(name.encode(errors="surrogateescape").decode(errors="replace").splitlines())


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return `; did you mean 'x'?` for the closest known name, or an empty string."""
    close = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean '{close[0]}'?" if close else ""


def without_password(text: str) -> str:
    """Return the text without the user names and passwords of the URLs in it."""
    return re.sub(r"://[^/\s]+@", "://***@", text)
