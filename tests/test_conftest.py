"""The limits that a run of the tests is given are its own: what a test starts is not under them."""

import os
import subprocess
import sys

import pytest

from tests.support.project import ROOT

LIMITS = ("RETRAIN_TESTS_UNTIL", "RETRAIN_TESTS_FROM")


def test_no_test_has_them_in_its_environment() -> None:
    assert not os.environ.keys() & {*LIMITS}


@pytest.mark.parametrize(("until", "says"), [("99999999999", "1 passed"), ("1", "1 skipped")])
def test_they_hold_for_the_run_that_is_given_them(until: str, says: str) -> None:
    one = f"{__file__}::{test_no_test_has_them_in_its_environment.__name__}"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:xdist", "-p", "no:cacheprovider", one]
    env = os.environ | dict(zip(LIMITS, (until, "7"), strict=True))
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=True)
    assert says in done.stdout
