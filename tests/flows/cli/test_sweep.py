"""What `retrain sweep` refuses before it starts anything."""

import pytest
from cyclopts import CycloptsError

from flows.cli.app import app


@pytest.mark.parametrize(
    ("option", "value", "allowed"),
    [
        ("--warmup-evaluations", "-1", ">= 0"),
        ("--trials", "0", ">= 1"),
        ("--at-once", "10001", "<= 10000"),
        ("--timeout-minutes", "-1.0", "> 0"),
        ("--timeout-minutes", "inf", "<= 1000000"),
        ("--timeout-minutes", "nan", "<= 1000000"),
    ],
)
def test_a_budget_of_which_nothing_can_be_done_is_refused(option: str, value: str, allowed: str) -> None:
    with pytest.raises(CycloptsError, match=f'"{value}" for {option}. Must be {allowed}'):
        app(["sweep", option, value], exit_on_error=False, print_error=False)
