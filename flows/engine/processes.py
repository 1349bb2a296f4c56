"""Starting stages as processes of their own, warm, and ending them: the flow's end of flows/engine/fork_server.py."""

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
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar, Self

from flows.engine import fork_server
from tasks.shared import progress

Message = dict[str, Any]
# seconds for a stage to end, or to say that it keeps a checkpoint, when the run is cancelled; and then for the checkpoint
REACT, KEEP = 8.0, 20.0
STALE = 3.0  # seconds without news after which the time left is counted down
ERROR = "error: "  # how a line begins that says why a stage failed
POLL = 0.25  # seconds between looks at the progress file


class StageFailedError(Exception):
    """A stage ended with an error; the message is its one sentence."""


class Processes:
    """The processes of one run. Use as a context: nothing outlives it."""

    _ahead: "ClassVar[Processes | None]" = None

    def __init__(self, root: Path, environment: dict[str, str] | None = None) -> None:
        self.root = root
        self.environment = environment or {}
        self.warm: subprocess.Popen[bytes] | None = None
        self.connection: socket.socket

    @classmethod
    def start_ahead(cls, root: Path) -> None:
        """Begin the imports now, for the next run of this process: they take as long as Prefect needs to start."""
        cls._ahead = cls(root)
        cls._ahead.start()

    @classmethod
    def of(cls, root: Path) -> Self:
        """Return what `start_ahead` began for `root`, or new processes."""
        ahead, cls._ahead = cls._ahead, None
        return ahead if isinstance(ahead, cls) and ahead.root == root else cls(root)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.warm is not None:
            self.warm.kill()  # before it could take the end of this run for the death of the flow
            self.warm.wait()
            self.connection.close()

    def start(self) -> None:
        """Begin to import what the stages will need, in a process of its own, so that they start at once."""
        if self.warm is not None:
            return
        self.connection, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self.warm = subprocess.Popen(  # noqa: S603 (our own interpreter and module, no shell)
                [sys.executable, fork_server.__file__, str(theirs.fileno())],
                cwd=self.root,
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C is the flow's to handle
            )

    def run(self, command: str, on_line: Callable[[str], None], on_progress: Callable[[Message], None]) -> None:
        """Run a stage's command from dvc.yaml, handing on its output and progress as they come.

        Raises StageFailedError with the stage's own sentence. Whatever ends this call early ends the stage's processes too.
        """
        self.start()
        module = _module(command)
        told = self.root / ".retrain" / f"progress-{os.getpid()}.jsonl"
        told.parent.mkdir(exist_ok=True)
        told.write_text("")
        try:
            pid, output = self._request(module, {**self.environment, progress.FILE: str(told)})
            last: Message = {}
            # what a stage says aloud when the disk is full, and it cannot tell
            said: str | None = None
            came = time.monotonic()
            try:
                for line, message in _follow(output, told):
                    if line is not None:
                        on_line(line)
                        said = line.removeprefix(ERROR) if line.startswith(ERROR) else said
                    if message is not None:
                        last, came = message, time.monotonic()
                        on_progress(message)
                    elif last.get("done", 0) < last.get("total", 0) and (silent := time.monotonic() - came) > STALE:
                        on_progress({**last, "seconds_left": max(0.0, last["seconds_left"] - silent)})  # a long step: at least the time goes on
                status = self._answer()["status"]
            except BaseException:
                self._end(pid, told)
                raise
        finally:
            told.unlink()
        if status:
            raise StageFailedError(last.get("error") or said or _how_it_ended(module, status))

    def _end(self, pid: int, told: Path) -> None:
        """Ask a stage to end, which lets training keep a checkpoint, and after a while make it, with all it has started."""
        try:
            with contextlib.suppress(ProcessLookupError, OSError):
                os.kill(pid, signal.SIGTERM)
                self._let_end(told)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)

    def _let_end(self, told: Path) -> None:
        """Wait for a stage that was asked to end, and say what it keeps; how long, counts from when it could react."""
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
            print(f" kept step {kept[0]}; the same command goes on" if kept else none, file=sys.stderr, flush=True)

    def _request(self, module: str, environment: dict[str, str]) -> tuple[int, int]:
        """Have a stage forked; return its process id and the reading end of its output."""
        read, write = os.pipe()
        request = {"module": module, "cwd": str(self.root), "env": environment}
        socket.send_fds(self.connection, [json.dumps(request).encode()], [write])
        os.close(write)
        return self._answer()["pid"], read

    def _answer(self) -> dict[str, int]:
        data = self.connection.recv(1 << 20)
        if not data:
            raise StageFailedError("the process that starts stages is gone; was it killed, or the memory full? Run the same command again")
        answer: dict[str, int] = json.loads(data)
        return answer


def _module(command: str) -> str:
    """Return what `exec python -m MODULE` would run."""
    match shlex.split(command):
        case ["exec", "python", "-m", module]:
            return module
    raise StageFailedError(f"dvc.yaml: a stage is run as 'exec python -m MODULE', not as '{command}'")


def _follow(output: int, told: Path) -> Iterator[tuple[str | None, Message | None]]:
    """Yield (line, None) for each line of output, (None, message) for each new line of the progress file, (None, None) when nothing is new."""
    buffer = b""
    with told.open("rb") as messages:
        partial = b""
        ended = False
        while not ended:
            readable, _, _ = select.select([output], [], [], POLL)
            if readable:
                data = os.read(output, 65536)
                ended = not data
                *lines, buffer = (buffer + data).replace(b"\r", b"\n").split(b"\n")
                lines += [buffer] if ended and buffer else []
                yield from ((line.decode(errors="replace"), None) for line in lines if line.strip())
            else:
                yield None, None
            *whole, partial = (partial + messages.read()).split(b"\n")
            yield from ((None, message) for message in map(_message, whole) if message)
    os.close(output)


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
        why = "; was the memory full?" if name == "SIGKILL" else ""
        return f"{module} was ended by {name}{why} Run the same command again to go on from its last checkpoint"
    return f"{module} failed with exit status {status}; its traceback is in the log above"
