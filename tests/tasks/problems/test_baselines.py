"""What TF-IDF says of texts, with and without words, of many labels and of few."""

from typing import Any

import numpy as np
import polars as pl
import pytest

from tasks.problems.common import baselines
from tests.support.way import TICKETS


@pytest.mark.parametrize("signs", [("1", "2"), ("\U0001f600", "\U0001f622"), ("!?", "...")])
def test_texts_without_a_word_are_told_apart_by_what_stands_between_blanks(signs: tuple[str, str]) -> None:
    one, other = signs
    labels = pl.Series(["a", "b"] * 4)
    said = baselines.tfidf_linear([one, other] * 4, labels, [other, one])
    assert said["predicted"].to_list() == ["b", "a"]


def test_of_more_n_grams_than_weights_have_room_those_are_kept_that_most_texts_hold(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rows = pl.read_csv(TICKETS).head(200)
    texts, labels = rows["text"].to_list(), rows["label"]
    (vectors, kept), every = _learned(texts, labels), baselines.tfidf_linear(texts, labels, texts)
    # few have them all, in their order
    assert kept.kept_ is None
    assert kept.transform(vectors) is vectors
    monkeypatch.setattr(baselines, "MOST_WEIGHTS", labels.n_unique() * 500)
    vectors, kept = _learned(texts, labels)
    assert kept.transform(vectors).shape == (200, 500)
    counts = np.bincount(vectors.indices)
    assert counts[kept.kept_].min() >= np.delete(counts, kept.kept_).max()
    few = baselines.tfidf_linear(texts, labels, texts)
    assert (few["predicted"] == every["predicted"]).mean() > 0.8


def _learned(texts: list[str], labels: pl.Series) -> tuple[Any, baselines.Frequent]:
    """Return the vectors of texts, and what says which of their columns are kept."""
    model = baselines.tfidf(texts, num_answers=labels.n_unique())
    vectors = model[0].fit_transform(texts)
    return vectors, model[1].fit(vectors)
