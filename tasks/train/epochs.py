"""Train rows as each epoch sees them: drawn from nothing but the seed, the epoch and the row's number."""

from typing import TYPE_CHECKING, Any

import numpy as np
from torch.utils.data import Dataset as Rows

from tasks.problems import Problem, Processor

if TYPE_CHECKING:
    from datasets import Dataset

    from tasks.train.trainer import EpochSampler


class AugmentedRows(Rows[dict[str, Any]]):
    """Rows that the problem augments; a resumed epoch sees what the interrupted one saw."""

    def __init__(
        self, data: "Dataset", problem: Problem, processor: Processor, sampler: "EpochSampler"
    ) -> None:
        self.data, self.problem, self.processor, self.sampler = data, problem, processor, sampler

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, number: int) -> dict[str, Any]:
        draw = np.random.default_rng([self.sampler.seed, self.sampler.epoch, number])
        return self.problem.augment(self.data[number], self.processor, draw)
