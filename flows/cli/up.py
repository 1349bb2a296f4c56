"""`retrain up` and `retrain down`."""

import os
from typing import Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

from flows.cli.common import OK, say

Port = Annotated[int, Parameter(validator=Number(gte=1, lte=65535))]
Workers = Annotated[int, Parameter(validator=Number(gte=0))]
Limit = Annotated[int, Parameter(validator=Number(gte=1))]


def up(*, host: str = "127.0.0.1", port: Port = 4200, workers: Workers = 1, limit: Limit = 4) -> int:
    """Start a Prefect server, its worker and all deployments on this machine. Twice is harmless.

    What is new in prefect.yaml and params.yaml is registered each time. With PREFECT_API_URL set to a server
    elsewhere, only workers are started.

    The server asks for a password: one that is made the first time and kept in .retrain/password, or yours in
    PREFECT_SERVER_API_AUTH_STRING.

    Examples: `retrain up`, `retrain up --workers 2 --limit 1`,
    `PREFECT_SERVER_API_AUTH_STRING=me:secret retrain up`.

    Parameters
    ----------
    host
        The address the server listens on. Anything but loopback needs a password of yours:
        PREFECT_SERVER_API_AUTH_STRING.
    port
        The port the server listens on.
    workers
        How many workers to start.
    limit
        How many runs each worker does at once; the others wait.
    """
    from flows.engine import workspace
    from flows.server import services

    checkout = workspace.root()
    os.chdir(checkout)
    url = services.up(checkout, say, host=host, port=port, workers=workers, limit=limit)
    print(services.what_to_click(checkout, url))
    return OK


def down() -> int:
    """End the server and the workers that `retrain up` started here. Training keeps a checkpoint first."""
    from flows.engine import workspace
    from flows.server import services

    services.down(workspace.root(), say)
    return OK
