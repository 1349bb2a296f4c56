"""Text that somebody else wrote, shown as just that text wherever Markdown or HTML is read."""

import re

# what a browser or a terminal may act on, and no reader can see: controls, and marks that turn the direction
UNSEEN = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]+")
# nothing in words of these can be markup: they stay as they are, so that they can be copied
WORD = r"(?:[-+](?=[0-9]))?[A-Za-z0-9]+(?:[-_][A-Za-z0-9]+|(?<=[0-9])\.[0-9]+)*%?,?"
HARMLESS = re.compile(rf"{WORD}(?: {WORD}| \({WORD}(?: {WORD})*\))*")
NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_./:@ -]*[A-Za-z0-9_/])?")


def shown(text: str) -> str:
    """Return a text as a terminal can show it: with nothing that it acts on but line ends and tabs."""
    return UNSEEN.sub(" ", text)


class Markdown(str):
    """Text that is Markdown already: a template takes it as it stands."""

    __slots__ = ()


def plain(text: str, most: int | None = None) -> Markdown:
    r"""Return a text on one line as Markdown that shows just it, cut to so many characters.

    Every ASCII punctuation mark gets a backslash, by which Markdown takes it for itself: no tag, link,
    picture, code, entity, table cell or heading begins in it.
    """
    words = " ".join(UNSEEN.sub(" ", text).split())
    words = f"{words[:most]}…" if most and len(words) > most else words
    return Markdown(words if HARMLESS.fullmatch(words) else re.sub(r"([!-/:-@\[-`{-~])", r"\\\1", words))


def code(name: str) -> Markdown:
    """Return a name as code, to be copied; as plain text where it would end the code, or a table's cell."""
    return Markdown(f"`{name}`") if NAME.fullmatch(name) else plain(name)
