"""What is told of a run, and what each tool must be able to do: five verbs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

# where no variable of the environment names another
PROJECT = "retrain"


@dataclass(frozen=True)
class Run:
    """A run as trackers know it.

    place: the folder of what trackers write here. params: those of params.yaml by their whole names, such as
    `train.learning_rate`. commit: what Git's HEAD was when it began.
    """

    name: str
    key: str
    place: Path
    params: Mapping[str, Any]
    project: str | None = None
    commit: str | None = None


class Measured(NamedTuple):
    """Scores at a step, in seconds since 1970."""

    step: int
    scores: Mapping[str, float]
    time: float


class Tool(Protocol):
    """A tracker. Whatever it raises is said once, and tried again later."""

    def begin(self, run: Run, known: str | None) -> str:
        """Begin a tracked run, or go on in the known one; return by what it is known."""

    def scores(self, measured: Sequence[Measured]) -> None:
        """Tell what was measured, in its order."""

    def text(self, name: str, text: str) -> None:
        """Tell what is no number."""

    def take(self) -> None:
        """Return when what was told is kept; raise an error when it cannot be."""

    def end(self, state: str) -> None:
        """End the tracked run, in one of the states of tasks.shared.tracking."""
