"""All answers of a Prefect server, which gives 200 at most at once."""

from collections.abc import Callable
from typing import Any, TypeVar

Answer = TypeVar("Answer")


def every(read: Callable[..., list[Answer]], **asked: Any) -> list[Answer]:
    """Return all that a client's method reads, however many there are."""
    found: list[Answer] = []
    while some := read(**asked, offset=len(found)):
        found += some
    return found
