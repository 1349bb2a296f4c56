"""Which of the processes of a training this one is, as who started it says in the environment.

No other module reads what torchrun, Ray Train and schedulers set there in each process.
"""

import os
from dataclasses import dataclass

from tasks.shared.errors import InputError

RANK, SIZE, LOCAL = "RANK", "WORLD_SIZE", "LOCAL_RANK"
# torchrun sets it in the processes that it starts
TORCHRUNS = "TORCHELASTIC_RUN_ID"


@dataclass(frozen=True)
class Role:
    """One of `size` processes that train together, the `rank`th from 0; by itself it is alone.

    is_started: by who started the others too, whose affair slots of devices, costs and new starts are.
    is_torchruns: by torchrun, which looks at how each of them ends.
    """

    rank: int = 0
    size: int = 1
    is_started: bool = False
    is_torchruns: bool = False

    @property
    def is_first(self) -> bool:
        """Whether it speaks, decides and writes for all of them."""
        return self.rank == 0


def role() -> Role:
    """Return what this process is; raise InputError where the environment says but half of it."""
    names = (RANK, SIZE, LOCAL)
    given = [f"{name} {os.environ[name]}" for name in names if name in os.environ]
    if not given:
        return Role()
    missing = [name for name in names if name not in os.environ]
    if missing:
        one = f"{' and '.join(given)} in the environment would make this one of several processes"
        raise InputError(
            f"{one}, but {' and '.join(missing)} is not set; unset it, or set {', '.join(names)}"
        )
    rank, size = os.environ[RANK], os.environ[SIZE]
    if not (rank.isdecimal() and size.isdecimal() and int(rank) < int(size)):
        none = f"{RANK}: '{rank}' is none of {SIZE} '{size}' processes, which count from 0"
        raise InputError(f"{none}; unset both, or set them in each process")
    return Role(int(rank), int(size), is_started=True, is_torchruns=TORCHRUNS in os.environ)


def leave() -> None:
    """Have this process, which somebody started as the only one, train as one that nobody did."""
    for name in (RANK, SIZE, LOCAL, "LOCAL_WORLD_SIZE", "NODE_RANK"):
        os.environ.pop(name, None)
