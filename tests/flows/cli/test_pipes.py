"""Output into a pipe that nobody reads to its end."""

import os
import subprocess
import sys

import pytest

from flows.cli.broken_pipe import ends_when_unread
from tests.support.project import Project


@pytest.mark.parametrize("words", ["plan --json", "plan", "plan --help", "check", "--version"])
def test_a_command_whose_output_nobody_reads_ends_without_a_word(project: Project, words: str) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, "-m", "flows", *words.split()],
        cwd=project.root,
        env=project.env,
        stdout=writing,
        stderr=subprocess.PIPE,
        check=False,
    )
    os.close(writing)
    assert (done.returncode, done.stderr) == (1, b"")


def test_the_first_line_can_be_taken_alone(project: Project) -> None:
    done = project.run("bash", "-c", f"{sys.executable} -m flows plan --json | head -1")
    assert (done.stdout, done.stderr) == ("{\n", "")


def test_a_connection_that_breaks_is_no_closed_output() -> None:
    with pytest.raises(BrokenPipeError), ends_when_unread():
        raise BrokenPipeError
