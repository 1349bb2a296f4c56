"""Inputs that are predicted share batches with those of like length."""

import math

import numpy as np
import pytest

from tasks.problems.common.predicting import batches


@pytest.mark.parametrize("count", [1, 7, 300, 5000])
@pytest.mark.parametrize("longest", [1, 12, 512])
def test_a_tenth_of_a_batch_is_padding_at_most_and_few_batches_are_not_full(count: int, longest: int) -> None:
    lengths = np.random.default_rng(count).integers(1, longest, count, endpoint=True).tolist()
    made = list(batches(lengths, 64))
    assert sorted(number for batch in made for number in batch) == list(range(count))
    assert max(map(len, made)) <= 64
    for batch in made:
        its = [lengths[number] for number in batch]
        assert its == sorted(its, reverse=True)
        assert sum(its) >= 0.9 * max(its) * len(its)
    assert len(made) <= math.ceil(count / 64) + math.log(longest, 1.2) + 2


def test_inputs_of_one_length_fill_batches_in_their_order() -> None:
    assert list(batches([9] * 5, 2)) == [[0, 1], [2, 3], [4]]
    assert list(batches([], 2)) == []
