"""The flow of a run in place: what it tells Prefect."""

from flows.pipeline import _as_read


def test_what_is_given_is_told_as_it_was_read() -> None:
    values = {"train": {"learning_rate": 0.003, "seed": 42, "extra": {"neftune_noise_alpha": 5}}, "split": {}}
    given = {
        "train": {"learning_rate": "0.003", "extra": {"neftune_noise_alpha": "5"}},
        "text_generation": {"chat": "true"},
    }
    assert _as_read(given, values) == {
        "train": {"learning_rate": 0.003, "extra": {"neftune_noise_alpha": 5}},
        # of another problem than this run's
        "text_generation": {"chat": "true"},
    }
