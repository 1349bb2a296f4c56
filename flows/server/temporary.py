"""A Prefect server for one command that has none: started without importing Prefect, ended with the command.

`python -m flows.server.temporary FD PARENT` is the server: it listens on the socket FD and ends with the
process PARENT.
"""

import atexit
import contextlib
import logging
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

from flows.server import password
from flows.server.guard import PRIVATE, guarded, protect
from tasks.shared.errors import InputError
from tasks.shared.files import private_folder
from tasks.shared.stage import end_with_parent

# seconds for the server to answer: the first in a checkout makes its database
PATIENCE = 300.0
# seconds for it to end
GRACE = 5.0


def start(checkout: Path) -> subprocess.Popen[bytes]:
    """Start a server for this command alone, its database in .retrain; `wait` when it is needed.

    Prefect would start one itself, but only once it is imported, and where Ctrl-C and `timeout`, which
    signal the whole process group, would end it before the run could say how it ended. This one is in a
    session of its own, and ends when this process does, however it does. Its password is new each time, and
    stands in no file and on no command line.
    """
    from flows.server import connection

    connection.refuse_unusable_proxy()
    home = private_folder(checkout / ".retrain") / "prefect"
    home.mkdir(exist_ok=True)
    os.environ.setdefault("PREFECT_HOME", str(home))
    os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
    # so that no link leads to a server that is gone
    os.environ.setdefault("PREFECT_UI_URL", "")
    secret = password.draw()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        api = f"http://127.0.0.1:{listening.getsockname()[1]}/api"
        os.environ |= {"PREFECT_API_URL": api, "PREFECT_API_AUTH_STRING": secret}
        env = {**os.environ, "PREFECT_SERVER_API_AUTH_STRING": secret}
        protect(env, api)
        process = subprocess.Popen(  # noqa: S603 (our own interpreter and module, no shell)
            [sys.executable, "-m", "flows.server.temporary", str(listening.fileno()), str(os.getpid())],
            pass_fds=[listening.fileno()],
            umask=PRIVATE,
            env=env,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
    # before Prefect is imported, so that it is called after Prefect has sent its last logs
    atexit.register(_end, process)
    return process


def wait(process: subprocess.Popen[bytes]) -> None:
    """Wait until the server that `start` has started answers; raise InputError when it does not."""
    import urllib.request

    health = f"{os.environ['PREFECT_API_URL']}/health"
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end and process.poll() is None:
        with contextlib.suppress(OSError), urllib.request.urlopen(health, timeout=PATIENCE):  # noqa: S310
            return
        time.sleep(0.05)
    remedy = "`make up` starts one that stays"
    raise InputError(f"Prefect's temporary server does not start; what it said stands above. {remedy}")


def _end(process: subprocess.Popen[bytes]) -> None:
    """Have a server store what it has been told, and end."""
    process.terminate()
    try:
        process.wait(GRACE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def serve(listening: socket.socket) -> None:
    """Serve Prefect's API, without its UI, and what the server does by itself for a client that soon goes."""
    import uvicorn
    from prefect.server.api.server import create_app

    # a statement that is under way when the server ends is cancelled, and its pool would call that an error
    logging.getLogger("sqlalchemy.pool").setLevel(logging.CRITICAL)
    app = guarded(create_app(ephemeral=True, final=True))
    uvicorn.Server(uvicorn.Config(app, log_level="error", lifespan="on")).run(sockets=[listening])


if __name__ == "__main__":
    # before the imports: they take seconds
    end_with_parent(parent=int(sys.argv[2]))
    serve(socket.socket(fileno=int(sys.argv[1])))
