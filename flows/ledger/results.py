"""What came of a run: how each stage's outputs came to be in place, and where Git keeps the whole."""

import textwrap
from dataclasses import dataclass
from enum import StrEnum

from tasks.shared.errors import InputError

# characters that the UI still shows at a glance
READABLE = 500


class LostError(InputError):
    """What a run has made is neither in the DVC cache nor on the remote."""


class Result(StrEnum):
    """How a stage's outputs came to be in place."""

    # they were there already
    unchanged = "unchanged"
    # checked out from the cache: some run, by either driver, made them before
    restored = "restored"
    ran = "ran"


@dataclass(frozen=True)
class Experiment:
    """A run that Git keeps under refs/exps: its name, its commit, the commit it started from.

    It is not new when an equal one was there before.
    """

    name: str
    commit: str
    baseline: str
    is_new: bool = True

    @property
    def tag(self) -> str:
        """A flow run's tag: `experiment:NAME`, or `commit:...` when the branch holds the same."""
        return f"{'commit' if self.commit == self.baseline else 'experiment'}:{self.name}"


def why(error: Exception) -> str:
    """Return an error's sentence on one line, as a state message: cut where a list would fill the screen."""
    return textwrap.shorten(str(error), READABLE, placeholder=" ...")
