"""`python -I tests/support/fork_server.py FOLDER/NAME`: a process that has imported much, and forks programs from itself.

NAME says what: stages need torch and the rest, commands DVC. tests/support/forked_python.py asks it, over the socket
FOLDER/NAME, to run a program with the asker's files, environment and working directory. Nothing of the project is
imported here, because each clone under test has its own code. A program is killed when
whoever asked for it is gone.
"""

import atexit
import contextlib
import fcntl
import gc
import importlib
import json
import os
import random
import runpy
import selectors
import signal
import socket
import sys
import threading
import traceback
from pathlib import Path
from typing import Any, NoReturn

OF_A_RUN = Path(__file__).parents[2] / "flows/engine/fork_server.py"
# no torch, and no Prefect, which reads its settings when it is imported
OF_COMMANDS = (
    "dvc.cli",
    "dvc.commands.repro",
    "dvc.repo",
    "polars",
    "pyarrow",
    "cyclopts",
    "rich.progress",
    "jinja2",
    "psutil",
    # what Prefect imports
    "coolname",
    "griffe",
    "httpx",
    "jsonschema",
    "pendulum",
    "prometheus_client",
    "pydantic_settings",
    "websockets",
)
ANY_FILES = 250
REQUEST = 1 << 20
# no program was given a file with so high a number
FAR = 500


def serve(place: Path) -> None:
    """Fork programs on request."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    bound = place.with_suffix(".bound")
    listener.bind(str(bound))
    listener.listen(64)
    bound.rename(place)
    gc.disable()
    # stages: as a run's own fork server does
    names = runpy.run_path(str(OF_A_RUN))["PRELOAD"] if place.name == "stages" else OF_COMMANDS
    for name in names:
        importlib.import_module(name)
    gc.freeze()
    assert not {"flows", "tasks"} & set(sys.modules)
    selector = selectors.DefaultSelector()
    selector.register(listener, selectors.EVENT_READ, accept)
    while True:
        for key, _ in selector.select():
            key.data(selector, key.fileobj)


def accept(selector: selectors.BaseSelector, listener: socket.socket) -> None:
    """Fork the program that somebody asks for."""
    connection, _ = listener.accept()
    data, files, _, _ = socket.recv_fds(connection, REQUEST, ANY_FILES)
    if not data:
        connection.close()
        return
    pid = os.fork()
    if not pid:
        become(json.loads(data), files)
    for file in files:
        os.close(file)
    with contextlib.suppress(OSError):
        connection.send(json.dumps({"pid": pid}).encode())
    program = Program(pid, connection)
    selector.register(connection, selectors.EVENT_READ, program.end)
    selector.register(program.ended, selectors.EVENT_READ, program.end)


class Program:
    """A program that was forked, and the connection to whoever asked for it."""

    def __init__(self, pid: int, connection: socket.socket) -> None:
        self.pid, self.connection = pid, connection
        self.ended = os.pidfd_open(pid)
        self.is_over = False

    def end(self, selector: selectors.BaseSelector, seen: object) -> None:
        """Tell how the program ended; kill it when nobody is there any more to be told."""
        # both may have been seen at once
        if self.is_over:
            return
        self.is_over = True
        if seen is self.connection:
            # alone too: it may not have come to have a group of its own
            for kill in (os.killpg, os.kill):
                with contextlib.suppress(ProcessLookupError):
                    kill(self.pid, signal.SIGKILL)
        status = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        with contextlib.suppress(OSError):
            self.connection.send(json.dumps({"status": status}).encode())
        selector.unregister(self.connection)
        selector.unregister(self.ended)
        self.connection.close()
        os.close(self.ended)


def become(request: dict[str, Any], files: list[int]) -> NoReturn:
    """Be what the real interpreter would have been, to the end."""
    status = 1
    try:
        os.setsid()
        take(dict(zip(request["files"], files, strict=True)))
        os.environ.clear()
        os.environ.update(request["env"])
        # this interpreter was started with -I, which looks at no such variable
        sys.dont_write_bytecode = "PYTHONDONTWRITEBYTECODE" in os.environ
        os.chdir(request["cwd"])
        gc.enable()
        # what the program itself has done at its end is done, and nothing of this server's
        atexit._clear()
        random.seed()
        sys.executable = request["executable"]
        status = run(request["arguments"])
    finally:
        os._exit(status)


def take(files: dict[int, int]) -> None:
    """Give files the numbers that they had at whoever asked, and close all others."""
    far = {number: fcntl.fcntl(file, fcntl.F_DUPFD, FAR) for number, file in files.items()}
    for number, file in far.items():
        os.dup2(file, number)
    for entry in list(Path("/proc/self/fd").iterdir()):
        if int(entry.name) not in files:
            with contextlib.suppress(OSError):
                os.close(int(entry.name))


def run(arguments: list[str]) -> int:
    """Run `python ARGUMENTS` and return its exit status."""
    status = 0
    try:
        match arguments:
            case ["-m", module, *rest]:
                sys.argv = [module, *rest]
                sys.path.insert(0, str(Path.cwd()))
                runpy.run_module(module, run_name="__main__", alter_sys=True)
            case ["-I", script, *rest]:
                sys.argv = [script, *rest]
                runpy.run_path(script, run_name="__main__")
            case [script, *rest]:
                sys.argv = [script, *rest]
                sys.path.insert(0, str(Path(script).parent))
                runpy.run_path(script, run_name="__main__")
    except SystemExit as stop:
        status = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    except BaseException:  # noqa: BLE001 (as the interpreter does)
        traceback.print_exc()
        status = 1
    threading._shutdown()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    return status


if __name__ == "__main__":
    serve(Path(sys.argv[1]))
