"""What `retrain sweep` refuses before it starts anything."""

import pytest

from flows.cli.sweep import refuse_budget
from tasks.shared.errors import InputError


@pytest.mark.parametrize(
    ("budget", "sentence"),
    [
        ((8, None, None, -1), "--warmup-evaluations -1: give a number from 0 to 10000"),
        ((0, None, None, 1), "--trials 0: give a number from 1 to 10000"),
        ((8, None, 10_001, 1), "--at-once 10001: give a number from 1 to 10000"),
        ((8, -1.0, None, 1), "--timeout-minutes -1: give a number above 0, at most 1e+06"),
        ((8, float("inf"), None, 1), "--timeout-minutes inf: give a number above 0, at most 1e+06"),
        ((8, float("nan"), None, 1), "--timeout-minutes nan: give a number above 0, at most 1e+06"),
    ],
)
def test_a_budget_of_which_nothing_can_be_done_is_refused(
    budget: tuple[int, float | None, int | None, int], sentence: str
) -> None:
    with pytest.raises(InputError) as error:
        refuse_budget(*budget)
    assert str(error.value) == sentence


def test_a_budget_that_can_be_kept_is_taken() -> None:
    refuse_budget(1, 0.5, None, 0)
