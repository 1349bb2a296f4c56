"""A Prefect server for one command: `python -m flows.server.temporary FD PARENT`, listening on the socket FD, ended with the process PARENT."""

import socket
import sys

from flows.server.guard import guarded
from tasks.shared.stage import end_with_parent


def serve(listening: socket.socket) -> None:
    """Serve Prefect's API, without its UI, and run what the server does by itself for a short-lived client."""
    import uvicorn
    from prefect.server.api.server import create_app

    app = guarded(create_app(ephemeral=True, final=True))
    uvicorn.Server(uvicorn.Config(app, log_level="error", lifespan="on")).run(sockets=[listening])


if __name__ == "__main__":
    end_with_parent(parent=int(sys.argv[2]))  # before the imports: they take seconds
    serve(socket.socket(fileno=int(sys.argv[1])))
