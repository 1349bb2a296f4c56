"""What the processes of a training tell the stage, which may be on another machine."""

import asyncio
from contextlib import suppress
from typing import Any

# what it is `about`, and what belongs to that; files as a reference to their contents by their names
Letter = dict[str, Any]
# seconds that the stage waits for a letter
PATIENCE = 0.5


class Mailbox:
    """An actor on the stage's node: letters for the stage, and for processes what they go on from."""

    def __init__(self) -> None:
        # each with what is set once the stage has dealt with it
        self.letters: list[tuple[Letter, asyncio.Event]] = []
        self.taken: list[asyncio.Event] = []
        self.came = asyncio.Event()
        self.checkpoints: list[Any] = []
        self.ends = False

    @classmethod
    def beside_the_stage(cls) -> Any:
        """Start one on this node."""
        import ray
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        return ray.remote(cls).options(num_cpus=0, scheduling_strategy=here).remote()

    async def deliver(self, letter: Letter) -> None:
        """Hand a letter to the stage, and return when it has dealt with it."""
        is_dealt_with = asyncio.Event()
        self.letters.append((letter, is_dealt_with))
        self.came.set()
        await is_dealt_with.wait()

    async def take(self, *, ends: bool) -> list[Letter]:
        """Return the letters since the last time, waiting a moment for one; those before are dealt with.

        ends: whether the stage is asked to end.
        """
        self.ends = ends
        for is_dealt_with in self.taken:
            is_dealt_with.set()
        with suppress(TimeoutError):
            await asyncio.wait_for(self.came.wait(), PATIENCE)
        self.came.clear()
        found, self.letters = self.letters, []
        self.taken = [is_dealt_with for _, is_dealt_with in found]
        return [letter for letter, _ in found]

    async def offer(self, checkpoints: list[Any]) -> None:
        """Have processes that begin go on from these: a reference to their files."""
        self.checkpoints = checkpoints

    async def is_asked_to_end(self) -> bool:
        """Return whether processes are to keep a checkpoint and end."""
        return self.ends

    async def offered(self) -> list[Any]:
        """Return the checkpoints to go on from."""
        return self.checkpoints
