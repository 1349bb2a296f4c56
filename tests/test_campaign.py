"""The campaign in its short form: what docs/security.md promises, attacked anew with the same seed."""

import pytest

from tests.campaign import PARTS, outcomes


@pytest.mark.parametrize("part", PARTS)
def test_nothing_is_lost_executed_or_written_outside(part: str) -> None:
    faults = [f"{attempt.case}: {attempt.fault}" for attempt in outcomes(part, 0, is_short=True) if attempt.fault]

    assert faults == []
