"""What all tests of problems use."""

import pytest


@pytest.fixture(scope="module", autouse=True)
def serving(forked_serving: None) -> None:
    """Packages are served by forked processes: a start takes longer than all that these tests ask."""
