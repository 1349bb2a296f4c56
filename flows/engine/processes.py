"""Running stages in processes of their own, and ending them: the flow's end of the fork server."""

import contextlib
import json
import os
import select
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from io import FileIO
from pathlib import Path
from typing import Any, Self

from flows.engine import fork_server
from tasks.shared import progress
from tasks.shared.errors import InputError
from tasks.shared.say import Say

Message = dict[str, Any]
# seconds for a stage to end, or to say that it keeps a checkpoint, when the run is cancelled; then for the
# checkpoint
REACT, KEEP = 8.0, 20.0
# seconds without news after which the time left is counted down
STALE = 3.0
# how a line begins that says why a stage failed
ERROR = "error: "
# seconds between looks at the progress file
POLL = 0.25
GONE = "the process that starts stages is gone; was it killed, or the memory full? Run the same command again"


class StageFailedError(InputError):
    """A stage ended with an error; the message is its one sentence."""


class Processes:
    """The processes of one run. Use as a context: nothing outlives it."""

    def __init__(self, root: Path, environment: dict[str, str] | None = None) -> None:
        self.root = root
        self.environment = environment or {}
        self.server: subprocess.Popen[bytes] | None = None
        self.connection: socket.socket

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.server is not None:
            # before it could take the end of this run for the death of the flow
            self.server.kill()
            self.server.wait()
            self.connection.close()

    def start(self) -> None:
        """Start the fork server, which imports what the stages will need, so that they start at once."""
        if self.server is not None:
            return
        self.connection, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self.server = subprocess.Popen(  # noqa: S603 (our own interpreter and module, no shell)
                [sys.executable, fork_server.__file__, str(theirs.fileno())],
                cwd=self.root,
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                # Ctrl-C is the flow's to handle
                start_new_session=True,
            )

    def run(self, command: str, on_line: Say, on_progress: Callable[[Message], None]) -> None:
        """Run a stage's command from dvc.yaml, handing on its output and progress as they come.

        Raises StageFailedError with the stage's own sentence. Whatever ends this call early ends the stage
        too.
        """
        self.start()
        module = _module(command)
        news = _News(on_line, on_progress)
        told = self.root / ".retrain" / f"progress-{os.getpid()}.jsonl"
        told.parent.mkdir(exist_ok=True)
        told.write_text("")
        try:
            pid, output = self._fork(module, {**self.environment, progress.FILE: str(told)})
            # it stays open while the stage ends: it may have more to say
            with os.fdopen(output, "rb", buffering=0) as lines:
                try:
                    _follow(lines, told, news)
                    status = self._answer()["status"]
                except BaseException:
                    self._end(pid, told)
                    raise
        finally:
            told.unlink()
        if status:
            raise StageFailedError(news.error or _how_it_ended(module, status))

    def _end(self, pid: int, told: Path) -> None:
        """Ask a stage to end, which lets training keep a checkpoint; later kill it with its children."""
        try:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGTERM)
                self._await_end(told)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)

    def _await_end(self, told: Path) -> None:
        """Wait for a stage that was asked to end, and say what it keeps; it has longer once it reacts."""
        end = time.monotonic() + REACT
        keeping = False
        over = False
        while not over and time.monotonic() < end:
            # its status, when it is over
            over = bool(select.select([self.connection], [], [], POLL)[0])
            # what it tells in the moment of asking may be told in part
            lines = told.read_bytes().splitlines(keepends=True)
            messages = [_message(line) for line in lines if line.endswith(b"\n")]
            if not keeping and any("keeping" in message for message in messages):
                keeping, end = True, time.monotonic() + KEEP
                print("keeping a checkpoint ...", end="", file=sys.stderr, flush=True)
        if keeping:
            kept = [message["kept"] for message in messages if "kept" in message]
            none = f" none could be kept within {KEEP:.0f} s; the same command goes on from the one before"
            said = f" kept step {kept[0]}; the same command goes on" if kept else none
            print(said, file=sys.stderr, flush=True)

    def _fork(self, module: str, environment: dict[str, str]) -> tuple[int, int]:
        """Have the server fork a stage; return its process id and the reading end of its output."""
        read, write = os.pipe()
        request = {"module": module, "cwd": str(self.root), "env": environment}
        with contextlib.suppress(ConnectionError):
            # that the server is gone, the answer says
            socket.send_fds(self.connection, [json.dumps(request).encode()], [write])
        os.close(write)
        return self._answer()["pid"], read

    def _answer(self) -> dict[str, int]:
        try:
            data = self.connection.recv(1 << 20)
        except ConnectionResetError:
            # it died with a request unread
            data = b""
        if not data:
            raise StageFailedError(GONE)
        answer: dict[str, int] = json.loads(data)
        return answer


class _News:
    """What a stage has told so far, handed on as it comes."""

    def __init__(self, on_line: Say, on_progress: Callable[[Message], None]) -> None:
        self.on_line, self.on_progress = on_line, on_progress
        self.last: Message = {}
        self.came = time.monotonic()
        # what a stage says aloud when the disk is full, and it cannot tell
        self.said: str | None = None

    @property
    def error(self) -> str | None:
        """The sentence that says why the stage failed, if it has told one."""
        return self.last.get("error") or self.said

    def line(self, line: str) -> None:
        """Hand on a line of output."""
        self.on_line(line)
        if line.startswith(ERROR):
            self.said = line.removeprefix(ERROR)

    def message(self, message: Message) -> None:
        """Hand on how far the stage is."""
        self.last, self.came = message, time.monotonic()
        self.on_progress(message)

    def none(self) -> None:
        """In a long step, let at least the time go on."""
        silent = time.monotonic() - self.came
        if self.last.get("done", 0) < self.last.get("total", 0) and silent > STALE:
            self.on_progress({**self.last, "seconds_left": max(0.0, self.last["seconds_left"] - silent)})


def _module(command: str) -> str:
    """Return what `exec python -m MODULE` would run."""
    match shlex.split(command):
        case ["exec", "python", "-m", module]:
            return module
    raise StageFailedError(f"dvc.yaml: a stage is run as 'exec python -m MODULE', not as '{command}'")


def _follow(output: FileIO, told: Path, news: _News) -> None:
    """Read a stage's output and its progress file until the output ends."""
    rest = partial = b""
    ended = False
    with told.open("rb") as messages:
        while not ended:
            if select.select([output], [], [], POLL)[0]:
                data = os.read(output.fileno(), 65536)
                ended = not data
                *whole, rest = (rest + data).replace(b"\r", b"\n").split(b"\n")
                for line in [*whole, rest] if ended else whole:
                    if line.strip():
                        news.line(line.decode(errors="replace"))
            *whole, partial = (partial + messages.read()).split(b"\n")
            found = [message for message in map(_message, whole) if message]
            for message in found:
                news.message(message)
            if not found:
                news.none()


def _message(line: bytes) -> Message:
    """Return what a stage has told in a line; nothing for what a full disk has cut short."""
    try:
        told = json.loads(line)
    except ValueError:
        return {}
    return told if isinstance(told, dict) else {}


def _how_it_ended(module: str, status: int) -> str:
    if status < 0:
        name = signal.Signals(-status).name
        how = f"{name}; was the memory full?" if name == "SIGKILL" else f"{name}."
        return f"{module} was ended by {how} Run the same command again to go on from its last checkpoint"
    return f"{module} failed with exit status {status}; its traceback is in the log above"
