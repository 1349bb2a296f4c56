"""Errors as users meet them: one sentence, no traceback."""

import subprocess


def only_error(done: subprocess.CompletedProcess[str]) -> str:
    """Return the one line that starts with `error:`."""
    lines = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1, done.stderr
    assert "Traceback" not in done.stderr + done.stdout
    return lines[0]
