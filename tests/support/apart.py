"""An engine that computes shards as a node does, but in this process: all that goes there and back is pickled, and no other file is there."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import cloudpickle

from tasks.shared.engine import Files, Item, Local, Shard
from tasks.shared.ray_node import compute, name_of, write


class Apart(Local):
    """Computes each shard in a folder of its own."""

    processes = 1

    def map(
        self,
        function: Callable[[Shard], Iterable[Item]],
        shards: Iterable[Shard],
        *,
        reads: Files[Shard] | None = None,
        writes: Path | None = None,
        **_: Any,
    ) -> Iterator[Item]:
        """Yield what `function` yields for each shard."""
        for shard in shards:
            files = {name_of(path): path.read_bytes() for path in (reads(shard) if reads else ())}
            sent: Any = cloudpickle.loads(cloudpickle.dumps((function, shard)))
            made = compute(*sent, files, name_of(writes) if writes else None)
            items, written = cloudpickle.loads(cloudpickle.dumps(made))
            for name, content in written.items():
                write(Path(name), content)
            yield from items

    def chunks(self, items: Sequence[Item], most: int) -> Iterator[Sequence[Item]]:
        """Yield the items by a few."""
        for start in range(0, len(items), 3):
            yield items[start : start + min(3, most)]
