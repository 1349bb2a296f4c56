"""What seeds alone make: the deviation of scores, how sure it is, and whether nothing but the seed differs."""

import numpy as np
import pytest

from flows.registry.seeds import Spread, but_for_seed


def spread(*scores: float, margin: float = 0.01) -> Spread:
    seeds = range(len(scores))
    names = {seed: f"seed-{seed}" for seed in seeds}
    return Spread("accuracy", 500, dict(zip(seeds, scores, strict=True)), names, margin)


def test_the_margin_follows_from_the_deviation_where_that_asks_for_more() -> None:
    found = spread(0.9, 0.91, 0.92, 0.93, 0.94)
    assert found.deviation == 0.01581
    assert found.least_margin == pytest.approx(1.645 * 2**0.5 * 0.01581)
    assert "so the margin is 0.03678 at least" in found.sentence
    asks = spread(0.9, 0.91, 0.92, 0.93, 0.94, margin=0.05)
    assert "which asks for no more than promote.margin 0.05" in asks.sentence


def test_the_interval_of_the_deviation_holds_the_true_one_as_often_as_it_says() -> None:
    random = np.random.default_rng(15)
    held = 0
    for _ in range(1000):
        low, high = spread(*random.normal(0.9, 0.01, 5)).interval
        held += low <= 0.01 <= high
    assert 930 <= held <= 970


def test_trainings_that_are_all_alike_have_no_deviation_and_ask_for_nothing() -> None:
    found = spread(*[0.9] * 5)
    assert (found.deviation, found.interval, found.least_margin) == (0.0, (0.0, 0.0), 0.01)


def test_what_decides_a_training_but_its_seed_is_compared() -> None:
    one = {
        "train": {
            "deps": [{"path": "data/tokens", "md5": "a"}],
            "params": {"params.yaml": {"train": {"seed": 1, "max_steps": 2}}},
        },
        "evaluate": {"params": {"params.yaml": {"evaluate": {"seed": 0}}}},
    }
    two = {
        **one,
        "train": {**one["train"], "params": {"params.yaml": {"train": {"seed": 2, "max_steps": 2}}}},
    }
    assert but_for_seed(one) == but_for_seed(two)
    two["train"]["deps"] = [{"path": "data/tokens", "md5": "b"}]
    assert but_for_seed(one) != but_for_seed(two)
    assert one["train"]["params"]["params.yaml"]["train"]["seed"] == 1, "what was read stays as it was"
