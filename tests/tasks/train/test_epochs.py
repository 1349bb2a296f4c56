"""An order of rows that survives a resume."""

import pytest
import torch

from tasks.shared.params.train import Sampling
from tasks.train.epochs import EpochSampler

LENGTHS = [3 + (7 * i) % 50 for i in range(1003)]
STRATEGIES = list(Sampling)


def sampler(strategy: str = "group_by_length", seed: int = 0, epoch: int = 0) -> EpochSampler:
    made = EpochSampler(LENGTHS, 8, strategy, seed)
    made.epoch = epoch
    return made


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_an_epoch_holds_every_row_once(strategy: Sampling) -> None:
    made = sampler(strategy)
    assert sorted(made) == list(range(1003))
    assert len(made) == 1003


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_the_order_depends_on_seed_and_epoch_and_on_nothing_else(strategy: Sampling) -> None:
    first = list(sampler(strategy, seed=3, epoch=2))
    torch.manual_seed(99)
    torch.rand(10)
    state = torch.get_rng_state()
    again = sampler(strategy, seed=3)
    for again.epoch in (0, 1, 2):
        order = list(again)
    assert order == first == list(again)
    assert torch.equal(torch.get_rng_state(), state), "the global generator was drawn from"


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_every_epoch_and_every_seed_has_an_order_of_its_own(strategy: Sampling) -> None:
    orders = {tuple(sampler(strategy, seed, epoch)) for seed in range(4) for epoch in range(4)}
    assert len(orders) == 16


def test_the_largest_seed_works() -> None:
    assert sorted(sampler(seed=2**32 - 1, epoch=1000)) == list(range(1003))


def test_rows_of_like_length_share_a_batch() -> None:
    def padded(order: list[int]) -> int:
        return sum(
            max(LENGTHS[row] for row in order[start : start + 8]) * len(order[start : start + 8])
            for start in range(0, 1003, 8)
        )

    grouped, random = (padded(list(sampler(strategy))) for strategy in ("group_by_length", "random"))
    assert grouped < 1.05 * sum(LENGTHS)
    assert random > 1.3 * sum(LENGTHS)


def test_batches_of_all_lengths_follow_each_other_and_the_incomplete_one_is_last() -> None:
    order = list(sampler())
    longest = [max(LENGTHS[row] for row in order[start : start + 8]) for start in range(0, 1003, 8)]
    assert longest[-1] == min(longest), (
        "the three rows that are left over are the shortest, so no other batch is torn"
    )
    thirds = [longest[1:42], longest[42:83], longest[83:125]]
    assert all(max(third) > 45 and min(third) < 10 for third in thirds)


def test_fewer_rows_than_a_batch_are_one_batch() -> None:
    few = EpochSampler([3, 9, 4], 8, "group_by_length", 0)
    assert sorted(few) == [0, 1, 2]


def test_the_longest_row_comes_first_so_that_full_memory_shows_at_once() -> None:
    assert LENGTHS[next(iter(sampler()))] == max(LENGTHS)
