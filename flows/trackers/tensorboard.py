"""TensorBoard: event files in a folder for each run, below TENSORBOARD_LOGGING_DIR or in the checkout."""

import os
import time
from collections.abc import Sequence
from pathlib import Path

from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.plugins.text.summary_v2 import text_pb
from tensorboard.summary.writer.event_file_writer import EventFileWriter

from flows.trackers.run import Measured, Run


class Tensorboard:
    """Event files, written without torch."""

    def begin(self, run: Run, known: str | None) -> str:
        """Write into the run's folder; what was there before is another run's."""
        place = (
            Path(os.environ.get("TENSORBOARD_LOGGING_DIR") or run.place / "tensorboard")
            .expanduser()
            .resolve()
        )
        folder, number = Path(known or place / run.name), 1
        while not known and folder.exists():
            number += 1
            folder = place / f"{run.name}-{number}"
        self.writer = EventFileWriter(str(folder))
        if not known:
            rows = [f"| {name} | {str(value).replace('|', ' ')} |" for name, value in run.params.items()]
            self.text("params", "\n".join(["| param | value |", "|---|---|", *rows]))
            self.text("git_commit", run.commit or "none")
        return str(folder)

    def scores(self, measured: Sequence[Measured]) -> None:
        """Write a summary for each step."""
        for step, scores, at in measured:
            values = [Summary.Value(tag=name, simple_value=score) for name, score in scores.items()]
            self.writer.add_event(Event(step=step, wall_time=at, summary=Summary(value=values)))

    def text(self, name: str, text: str) -> None:
        """Write a text, which is shown as Markdown."""
        self.writer.add_event(Event(step=0, wall_time=time.time(), summary=text_pb(name, text)))

    def take(self) -> None:
        """Have it on the disk."""
        self.writer.flush()

    def end(self, state: str) -> None:
        """Close the file."""
        self.text("state", state)
        self.writer.close()
