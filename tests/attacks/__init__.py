"""What a campaign tries: each module is one kind of attack, and says what went wrong."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Attempt:
    """What was tried, with the seed that makes it again, and what went wrong: None when all was right."""

    case: str
    fault: str | None = None
