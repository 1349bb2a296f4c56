"""In which order tests run, so that several processes of pytest-xdist end together.

Its `worksteal` deals each process a stretch of the order, and one that is done takes the end of another's. So the
long tests stand at the heads of the stretches, and the many short ones are what is taken.
"""

from collections.abc import Sequence

import pytest

# what a test that takes long asks for: clones, and the servers beside them
LONG = {"cloned", "computed", "furnished", "it", "project", "server", "trained", "twice"}
# tests that share what was made for one param of a module stand together: it would be made once more elsewhere
TOGETHER = "it"


def dealt(items: Sequence[pytest.Item], processes: int) -> list[pytest.Item]:
    """Return tests in an order of so many stretches alike, in each the long ones first."""
    together: dict[object, list[pytest.Item]] = {}
    for item in items:
        its = getattr(item, "callspec", None)
        shared = (
            (item.path, its.id) if its and TOGETHER in its.params and len(its.params) == 1 else item.nodeid
        )
        together.setdefault(shared, []).append(item)
    long = [group for group in together.values() if is_long(group[0])]
    short = [group for group in together.values() if not is_long(group[0])]
    ordered: list[pytest.Item] = []
    for number in range(processes):
        for group in [*long[number::processes], *short[number::processes]]:
            ordered += group
    return ordered


def is_long(item: pytest.Item) -> bool:
    """Tell whether a test is one of those that take long."""
    return bool(LONG & set(getattr(item, "fixturenames", ())))
