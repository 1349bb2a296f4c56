"""How a stage's outputs came to be in place."""

from enum import StrEnum


class Outcome(StrEnum):
    """What a run had to do for a stage."""

    unchanged = "unchanged"  # its outputs were there already
    restored = "restored"  # checked out from the cache: some run, by either driver, computed them before
    ran = "ran"
