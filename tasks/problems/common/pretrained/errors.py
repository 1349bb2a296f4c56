"""What is said of an error that transformers raises of files, sizes or inputs."""

from tasks.shared.errors import first_line

MOST_LETTERS = 300  # of what an error says


def brief(error: Exception) -> str:
    """Return an error's kind and first line, and what to do."""
    return f"{kind_and_line(error)}; save or download it anew, or name another model"


def kind_and_line(error: Exception) -> str:
    """Return an error's kind and first line, or its kind where it has no line to say."""
    kind, line = type(error).__name__, first_line(error)
    return line if line == kind else f"{kind}: {line[:MOST_LETTERS]}"
