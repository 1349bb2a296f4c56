"""`python -m tests.support.until_gone PID COMMAND ...`: run a command for as long as a process lives, however that ends."""

import os
import select
import subprocess
import sys

# seconds, when asked to
ENDS_WITHIN = 20.0


def run(pid: int, command: list[str]) -> None:
    """Run a command; end it when the process is gone."""
    watched = os.pidfd_open(pid)
    running = subprocess.Popen(command)
    select.select([watched, os.pidfd_open(running.pid)], [], [])
    end(running)


def end(running: subprocess.Popen[bytes]) -> None:
    """Ask a process to end, and after a while make it."""
    running.terminate()
    try:
        running.wait(ENDS_WITHIN)
    except subprocess.TimeoutExpired:
        running.kill()
        running.wait()


if __name__ == "__main__":
    run(int(sys.argv[1]), sys.argv[2:])
