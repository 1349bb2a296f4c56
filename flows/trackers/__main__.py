"""`python -m flows.trackers FOLDER TOOL`: tell a tool what a run writes down, until its stage is over.

The stage holds the other end of our input: it closes it when it is over.
When it is killed, so is this process, and the next one goes on where this one has stopped.
What the tool prints goes to a log beside the run's journal.
"""

import importlib
import json
import os
import select
import signal
import sys
import time
from pathlib import Path
from typing import Any

from flows.git.commands import commit_of
from flows.trackers.run import Measured, Run, Tool
from tasks.shared import tracking
from tasks.shared.errors import InputError, without_password
from tasks.shared.files import for_owner, read_json, replace
from tasks.shared.say import Say
from tasks.shared.stage import end_with_parent

# seconds between looks at the journal, and until a tool that failed is tried again
POLL, AGAIN = 1.0, 60.0
# letters of what a tool says of a failure
SAID = 300


class Teller:
    """Tells one tool of one run, and remembers how much it has been told, and by what it knows the run."""

    def __init__(self, folder: Path, tool: str, say: Say) -> None:
        self.folder, self.name, self.say = folder, tool, say
        self.state = folder / f"{tool}.json"
        known = read_json(self.state) if self.state.exists() else {}
        self.id: str | None = known.get("id")
        self.told: int = known.get("told", 0)
        self.tool: Tool | None = None
        self.again = 0.0
        self.failed = False

    def tell(self, *, at_last: bool = False) -> None:
        """Tell what is new. A failure is said once, and tried again now and then, and at last."""
        if time.monotonic() < self.again and not at_last:
            return
        try:
            self._tell()
        except (Exception, SystemExit) as error:  # noqa: BLE001 (whatever a tool raises, training goes on)
            self.again = time.monotonic() + AGAIN
            self._fails(error)
            return
        if self.failed:
            self.failed = False
            self.say(f"{self.name} answers, and has been told all that it missed")

    def _tell(self) -> None:
        if self.tool is None:
            tool = _tool(self.name)
            self.id = tool.begin(_run(self.folder), self.id)
            # only now: one that has not begun is begun anew
            self.tool = tool
            self._remember()
        new, end = tracking.lines(self.folder, self.told)
        if not new:
            return
        scored = [Measured(line["step"], line["scores"], line["time"]) for line in new if "scores" in line]
        self.tool.scores(scored)
        for line in new:
            if "text" in line:
                self.tool.text(line["name"], line["text"])
        self.tool.take()
        self.told = end
        self._remember()
        if "state" in new[-1]:
            self.tool.end(new[-1]["state"])

    def _remember(self) -> None:
        replace(self.state, json.dumps({"id": self.id, "told": self.told}))

    def _fails(self, error: BaseException) -> None:
        if not self.failed:
            words = without_password(" ".join(f"{type(error).__name__}: {error}".split()))
            goes_on = "the stage goes on, and it is told later what it misses"
            self.say(
                f"warning: {self.name} cannot be told: {words[:SAID]}; {goes_on} "
                f"(log: {self.folder / self.name}.log)"
            )
        self.failed = True


def _tool(name: str) -> Tool:
    """Return the tool of a name, each a module of this package and a class in it."""
    module = importlib.import_module(f"flows.trackers.{name}")
    tool: Tool = getattr(module, name.title())()
    return tool


def _run(folder: Path) -> Run:
    """Return what is told of a run at its beginning."""
    said = read_json(folder / tracking.RUN)
    try:
        commit = commit_of(Path(), "HEAD")
    except InputError:
        commit = None
    params = dict(_flat(said["params"]))
    return Run(said["name"], said["key"], tracking.FOLDER.resolve(), params, said["project"], commit)


def _flat(params: dict[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """Return nested params by their whole names."""
    found: list[tuple[str, Any]] = []
    for name, value in params.items():
        found += (
            _flat(value, f"{prefix}{name}.")
            if isinstance(value, dict) and value
            else [(f"{prefix}{name}", value)]
        )
    return found


def _apart(log: Path) -> Say:
    """Send what the tool prints to a log, and return what still speaks to the user."""
    ours = os.fdopen(os.dup(1), "w", encoding="utf-8")
    with open(log, "ab", opener=for_owner) as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)

    def say(sentence: str) -> None:
        print(sentence, file=ours, flush=True)

    return say


def main(folder: Path, tool: str) -> None:
    """Tell until the stage is over."""
    end_with_parent()
    # Ctrl-C is the stage's: it says how the run ends
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    teller = Teller(folder, tool, _apart(folder / f"{tool}.log"))
    is_over = False
    while not is_over:
        is_over = bool(select.select([sys.stdin], [], [], POLL)[0])
        teller.tell(at_last=is_over)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
