"""Output into a pipe that nobody reads to its end."""

import os
import subprocess
import sys

import pytest

from flows.cli.broken_pipe import ends_when_unread
from flows.ledger.journal import FILE
from tests.support.project import Project


def unread(project: Project, words: str, stream: str = "stdout") -> subprocess.CompletedProcess[bytes]:
    """Run `retrain ...` with a stream that is a pipe, closed at its other end."""
    reading, writing = os.pipe()
    os.close(reading)
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, stream: writing}
    command = [sys.executable, "-m", "flows", *words.split()]
    done = subprocess.run(command, cwd=project.root, env=project.env, check=False, **streams)  # type: ignore[call-overload]
    os.close(writing)
    return done


@pytest.mark.slow
@pytest.mark.parametrize("words", ["plan --json", "plan", "plan --help", "check", "--version"])
def test_a_command_whose_output_nobody_reads_ends_without_a_word(project: Project, words: str) -> None:
    done = unread(project, words)
    assert (done.returncode, done.stderr) == (1, b"")


@pytest.mark.slow
@pytest.mark.parametrize("has_server", [False, True])
def test_a_run_whose_end_nobody_reads_is_kept(trained: Project, server: str, has_server: bool) -> None:
    if has_server:
        trained.env["PREFECT_API_URL"] = server
    done = unread(trained, "run --promote.margin 0.02")
    assert done.returncode == 1
    assert b"is undone" not in done.stderr
    assert not (trained.root / FILE).exists()
    assert "margin: 0.02" in (trained.root / "params.yaml").read_text("utf-8")


def test_a_run_goes_on_where_nobody_reads_what_it_says(trained: Project) -> None:
    done = unread(trained, "run --promote.margin 0.02", "stderr")
    assert done.returncode == 0
    assert b"7 of 7 stages cached" in done.stdout
    assert "margin: 0.02" in (trained.root / "params.yaml").read_text("utf-8")


@pytest.mark.slow
def test_the_first_line_can_be_taken_alone(project: Project) -> None:
    done = project.run("bash", "-c", f"{sys.executable} -m flows plan --json | head -1")
    assert (done.stdout, done.stderr) == ("{\n", "")


def test_a_connection_that_breaks_is_no_closed_output() -> None:
    with pytest.raises(BrokenPipeError), ends_when_unread():
        raise BrokenPipeError
