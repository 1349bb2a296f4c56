"""Where the shards of a stage are computed: in its own process, or by a Ray cluster. No bit depends on it.

A shard is some files, rows or batches of a stage, and a function makes items of it: what it yields depends
on that shard alone, so that it does not matter where, in what order and how often shards are computed.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol, TypeVar

from tasks.shared import devices
from tasks.shared.params import Params

Shard = TypeVar("Shard")
Item = TypeVar("Item")
# which files a shard is computed from
Files = Callable[[Shard], Iterable[Path]]


class Engine(Protocol):
    """What computes shards."""

    # processes that compute a shard together
    processes: int

    @property
    def device(self) -> str:
        """PyTorch's name of what models compute on."""

    def map(
        self,
        function: Callable[[Shard], Iterable[Item]],
        shards: Iterable[Shard],
        *,
        reads: Files[Shard] | None = None,
        writes: Path | None = None,
        threads: int = 1,
        on_device: bool = False,
    ) -> Iterator[Item]:
        """Yield what `function` yields for each shard, in the shards' order.

        reads: the files that the function reads for a shard. writes: the folder below which it writes files.
        Both lie in the current folder. threads: how many of PyTorch's it computes with. on_device: whether
        a model computes there on `device`.
        Raises InputError as the function does, and when shards are lost again and again.
        """

    def chunks(self, items: Sequence[Item], most: int) -> Iterator[Sequence[Item]]:
        """Yield the items as shards: of `most` at most where several are computed at once, else one."""


class Local:
    """Computes in this process, one shard after another."""

    processes = os.cpu_count() or 1

    @property
    def device(self) -> str:
        """A GPU, where there is one."""
        return devices.kind()

    def map(
        self,
        function: Callable[[Shard], Iterable[Item]],
        shards: Iterable[Shard],
        *,
        reads: Files[Shard] | None = None,  # noqa: ARG002 (they are here)
        writes: Path | None = None,  # noqa: ARG002
        threads: int = 1,  # noqa: ARG002 (set already)
        on_device: bool = False,  # noqa: ARG002
    ) -> Iterator[Item]:
        """Yield what `function` yields for each shard."""
        for shard in shards:
            yield from function(shard)

    def chunks(self, items: Sequence[Item], most: int) -> Iterator[Sequence[Item]]:  # noqa: ARG002
        """Yield all items at once."""
        yield items


LOCAL: Engine = Local()


@contextmanager
def started(params: Params) -> Iterator[Engine]:
    """Yield what computes shards, as `params.engine` says.

    Raises InputError where there is no such cluster, or it would let anybody in.
    """
    if params.engine.name == "local":
        yield LOCAL
        return
    from tasks.shared.ray_engine import cluster

    with cluster(params) as engine:
        yield engine
