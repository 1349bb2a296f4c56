"""What a clone's own commands find as their `python`: it has a fork server of the session run what begins with long imports.

Stages, the fork server of a run and the package that is served are forked from one, `retrain` and `dvc` from
another where FORK_COMMANDS is set; all else, and what has other settings that libraries read when they are
imported, is run by the real interpreter. Copied to bin/python of a folder made by tests/support/forking.py, and
run by itself: it imports nothing of the project.
"""

import array
import json
import os
import signal
import socket
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

HOME = Path(sys.argv[0]).parent.parent
SETTINGS = (
    "OMP_",
    "MKL_",
    "OPENBLAS_",
    "HF_",
    "TRANSFORMERS_",
    "TOKENIZERS_",
    "TORCH",
    "CUDA_",
    "PYTHON",
    "HOME",
    "LD_",
)
TORCHS_OWN = "TORCHINDUCTOR_"
STAGES = (("-m", "tasks."), ("-I", "serve.py"), ("", "flows/engine/fork_server.py"))
COMMANDS = ("flows", "flows.ledger", "dvc")
# the variable that has commands forked too, where a test waits for them, and neither kills them nor looks at their parents
FORK_COMMANDS = "RETRAIN_TEST_FORKS_COMMANDS"


def settings(env: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that libraries read when they are imported; not what torch sets itself in who has imported it."""
    return {name: env[name] for name in env if name.startswith(SETTINGS) and not name.startswith(TORCHS_OWN)}


def server_of(arguments: list[str]) -> str:
    """Return which server runs a program with these arguments, "stages" or "commands"; nothing where none does."""
    if settings(os.environ) != json.loads((HOME / "settings.json").read_text("utf-8")):
        return ""
    option = arguments[0] if arguments[:1] and arguments[0].startswith("-") else ""
    program = arguments[bool(option)] if len(arguments) > bool(option) else ""
    if any(option == wanted and part in program for wanted, part in STAGES):
        return "stages"
    return "commands" if option == "-m" and program in COMMANDS and FORK_COMMANDS in os.environ else ""


def opened() -> list[int]:
    """Return the file descriptors that this process was given."""
    found = []
    for entry in list(Path("/proc/self/fd").iterdir()):
        # the one by which this folder was read is closed by now
        with suppress(OSError):
            os.fstat(int(entry.name))
            found.append(int(entry.name))
    return found


def ask(server: str, arguments: list[str]) -> int:
    """Have a server run a program with this process's files, and pass signals on to it; return its status, below 0 for a signal."""
    given = opened()
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as connection:
        connection.connect(str(HOME / server))
        request = {
            "executable": sys.argv[0],
            "arguments": arguments,
            "cwd": str(Path.cwd()),
            "env": dict(os.environ),
            "files": given,
        }
        connection.sendmsg(
            [json.dumps(request).encode()], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", given))]
        )
        pid = json.loads(connection.recv(1024))["pid"]
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, lambda number, _: os.kill(pid, number))
        return int(json.loads(connection.recv(1024))["status"])


def main() -> None:
    """Run the program, and end as it ends."""
    server = server_of(sys.argv[1:])
    if not server:
        os.execv(HOME / "real", sys.argv)  # noqa: S606 (the interpreter, with what it was given)
    status = ask(server, sys.argv[1:])
    if status < 0:
        signal.signal(-status, signal.SIG_DFL)
        os.kill(os.getpid(), -status)
    sys.exit(status)


if __name__ == "__main__":
    main()
