"""What is said of an error that transformers raises of files, sizes or inputs."""

from collections.abc import Iterator
from contextlib import contextmanager

from tasks.shared.errors import InputError, first_line, is_memory_full

# of what an error says
MOST_LETTERS = 300
REMEDY = "save or download it anew, or name another model"


@contextmanager
def in_words(what: str, remedy: str = REMEDY) -> Iterator[None]:
    """Raise InputError, what is wrong, why and what to do, for whatever is raised within but full memory.

    Files that are not sound, sizes that cannot be and inputs of another kind make transformers raise errors
    of any class.
    """
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        if is_memory_full(error):
            raise
        kind, line = type(error).__name__, first_line(error)
        why = line if line == kind else f"{kind}: {line[:MOST_LETTERS]}"
        raise InputError(f"{what}: {why}{remedy and f'; {remedy}'}") from None
