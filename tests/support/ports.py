"""Ports of this machine for servers that tests start."""

import os
import socket
from itertools import cycle, islice

# below those that the kernel gives away by itself, so that what is free is still so when its server has started
FIRST, PLACES, EACH = 20_000, 48, 250
# the processes of a session of tests have places of their own
MINE = FIRST + os.getpid() % PLACES * EACH
_ports = cycle(range(MINE, MINE + EACH))


def free_port(host: str = "127.0.0.1") -> int:
    """Return a port of the host that nobody listens on, each time another."""
    for port in islice(_ports, EACH):
        with socket.socket() as one:
            try:
                one.bind((host, port))
            except OSError:
                continue
            return port
    raise AssertionError(f"somebody listens on each port from {MINE} to {MINE + EACH - 1}")
