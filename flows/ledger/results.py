"""What came of a run: how each stage's outputs came to be in place, and where Git keeps the whole."""

import textwrap
from dataclasses import dataclass
from enum import StrEnum

READABLE = 500  # characters that the UI still shows at a glance


class Outcome(StrEnum):
    """What a run had to do for a stage."""

    unchanged = "unchanged"  # its outputs were there already
    restored = "restored"  # checked out from the cache: some run, by either driver, computed them before
    ran = "ran"


@dataclass(frozen=True)
class Experiment:
    """A run that Git keeps under refs/exps: its name, its commit, the commit it started from; not new when an equal one was there before."""

    name: str
    commit: str
    baseline: str
    is_new: bool = True

    @property
    def tag(self) -> str:
        """What a flow run is tagged with, so that it is found from here: `experiment:NAME`, or `commit:...` when the branch itself holds the same."""
        return f"{'commit' if self.commit == self.baseline else 'experiment'}:{self.name}"


def why(error: Exception) -> str:
    """Return an error's one sentence, on one line, as a state message: cut where a list in it would fill the screen."""
    return textwrap.shorten(str(error), READABLE, placeholder=" ...")
