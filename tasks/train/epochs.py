"""Train rows as each epoch sees them: drawn from nothing but the seed, the epoch and the row's number."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset as Rows
from torch.utils.data import Sampler

from tasks.problems import Problem, Processor

if TYPE_CHECKING:
    from datasets import Dataset

# of a row's length when rows are grouped by it: rare lengths meet other rows in each epoch
BLUR = 0.05


class EpochSampler(Sampler[int]):
    """The order of training rows, drawn from nothing but the seed and the epoch.

    A resumed epoch sees what the interrupted one saw. The Trainer's own sampler draws from the global
    generator, which stands elsewhere after a resume. It also sorts by length within 50 batches at a time,
    long rows first; here all rows are sorted, and then the batches shuffled, which leaves a quarter of the
    padding.
    """

    def __init__(self, lengths: Sequence[int], batch_size: int, strategy: str, seed: int) -> None:
        self.lengths, self.batch_size, self.strategy, self.seed = lengths, batch_size, strategy, seed
        self.epoch = 0

    def __len__(self) -> int:
        return len(self.lengths)

    def __iter__(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + self.epoch)
        order = torch.randperm(len(self.lengths), generator=generator)
        if self.strategy == "group_by_length":
            order = self._grouped(order, generator)
        return iter(order.tolist())

    def _grouped(self, order: Tensor, generator: torch.Generator) -> Tensor:
        """Gather rows of like length in batches and shuffle those; the longest first: full memory shows."""
        lengths = torch.tensor(self.lengths)[order]
        blurred = lengths * (1 + BLUR * torch.rand(len(order), generator=generator))
        blurred[lengths.argmax()] = torch.inf
        by_length = order[torch.argsort(blurred, descending=True, stable=True)]
        first, *others = torch.split(by_length, self.batch_size)
        # the incomplete batch stays last
        rest = [others.pop()] if others and len(others[-1]) < self.batch_size else []
        shuffled = [others[place] for place in torch.randperm(len(others), generator=generator).tolist()]
        return torch.cat([first, *shuffled, *rest])


class AugmentedRows(Rows[dict[str, Any]]):
    """Rows that the problem augments; a resumed epoch sees what the interrupted one saw."""

    def __init__(
        self, data: "Dataset", problem: Problem, processor: Processor, sampler: EpochSampler
    ) -> None:
        self.data, self.problem, self.processor, self.sampler = data, problem, processor, sampler

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, number: int) -> dict[str, Any]:
        draw = np.random.default_rng([self.sampler.seed, self.sampler.epoch, number])
        return self.problem.augment(self.data[number], self.processor, draw)
