"""A command's session with Prefect: the configured server, or one of its own, and a flow run there."""

import gc
import logging
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from flows.cli.common import FAILED, INTERRUPTED, OK
from flows.server import configured, temporary

# how Prefect logs what the command says itself
SAID_HERE = ("Crash detected!", "Finished in state Crashed(", "Finished in state Failed(")


class Session:
    """Which server a command talks to.

    fault: why nothing can be recorded on the one that is configured.
    """

    def __init__(self, checkout: Path) -> None:
        # what is imported until the flow runs is never garbage, and looking for it takes a tenth of the time
        gc.disable()
        self.checkout = checkout
        self.configured, self.fault = configured.found(checkout)
        self.temporary: subprocess.Popen[bytes] | None = None

    @property
    def has_server(self) -> bool:
        """Whether a server that is configured answers."""
        return self.configured is not None and self.fault is None

    def start(self) -> None:
        """Start a server for this command where none is configured; raise the fault of one that is."""
        if self.fault:
            raise self.fault
        if self.configured is None:
            self.temporary = temporary.start(self.checkout)

    def run(self, flow: Callable[[], Any]) -> tuple[Any, int]:
        """Run a flow; return its result and the exit status. Say why it did not complete, if so."""
        gc.freeze()
        gc.enable()
        if self.temporary is not None:
            temporary.wait(self.temporary)
        _say_it_once()
        state = flow()
        if state.is_completed():
            return state.result(), OK
        print(f"error: {state.message}", file=sys.stderr)
        return None, INTERRUPTED if state.is_cancelled() else FAILED


def _say_it_once() -> None:
    """Keep from the terminal what this command says itself at its end; the server's log has all of it."""
    for handler in (*logging.getLogger().handlers, *logging.getLogger("prefect").handlers):
        handler.addFilter(lambda record: not record.getMessage().startswith(SAID_HERE))
