"""Trackio: the Space or server that its variables name, or files below TRACKIO_DIR or in the checkout."""

import os
import secrets
from collections.abc import Sequence

from flows.trackers.run import PROJECT, Measured, Run


class Trackio:
    """A run of a project.

    Trackio finds a run by its name alone, the newest of it, so each gets one of its own.
    """

    def begin(self, run: Run, known: str | None) -> str:
        """Begin a run, or go on in the one of this name."""
        # it reads that when it is imported
        os.environ.setdefault("TRACKIO_DIR", str(run.place / "trackio"))
        import trackio

        self.run = trackio.init(
            project=run.project or PROJECT,
            name=known or f"{run.name}-{secrets.token_hex(3)}",
            resume="must" if known else "never",
            config={**run.params, "git_commit": run.commit, "key": run.key},
            embed=False,
            auto_log_gpu=False,
            auto_log_cpu=False,
        )
        return str(self.run.name)

    def scores(self, measured: Sequence[Measured]) -> None:
        """Log each step."""
        for step, scores, _ in measured:
            self.run.log(dict(scores), step=step)

    def text(self, name: str, text: str) -> None:
        """Log it as it is."""
        self.run.log({name: text})

    def take(self) -> None:
        """Trackio keeps it in a file of its own, and sends it when it can."""

    def end(self, state: str) -> None:  # noqa: ARG002 (Trackio knows no states)
        """Have all of it written, and end the run."""
        self.run.finish()
