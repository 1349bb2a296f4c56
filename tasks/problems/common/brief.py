"""What a library says of a file that it cannot use, as a part of a sentence."""

import re

from tasks.shared.errors import first_line

# letters of it
MOST = 200
# a buffer's address is another one each time
ADDRESS = " object at 0x"
OPENING = re.compile(r"Error opening <.*?>: ")


def brief(what: str, error: Exception) -> str:
    """Return what is wrong and the first line of an error, or its kind where it has no line to say."""
    said = OPENING.sub("", first_line(error))
    return what if ADDRESS in said else f"{what}: {said[:MOST]}"
