"""Baselines learn from so much text, and from all of it where it is less."""

from pathlib import Path

import polars as pl
import pytest

from tasks.evaluate import sampling
from tasks.problems.text_classification import TextClassification
from tasks.problems.token_classification.rows import Tags
from tests.support.way import way

COLUMNS = TextClassification.columns


def test_few_rows_are_all_learned_from() -> None:
    rows = pl.DataFrame({"text": ["some", "text"] * 50, "label": ["a", "b"] * 50})
    assert sampling.sample(rows, COLUMNS) is rows


def test_of_many_a_sample_is_learned_from_that_is_always_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sampling, "MOST_CHARACTERS", 100)
    texts = [f"{number:010}" for number in range(1000)]
    rows = pl.DataFrame({"text": texts, "text_pair": texts, "label": ["a"] * 1000})
    found = sampling.sample(rows, COLUMNS)
    assert found.height == 5
    assert found.equals(sampling.sample(rows, COLUMNS))
    assert found["text"].is_sorted()
    assert set(found["text"]) < set(texts)
    assert sampling.sample(rows[:3], COLUMNS).height == 3
    words = pl.DataFrame({"tokens": [["abcde", "fghij"]] * 30, "tags": [["O", "O"]] * 30})
    assert sampling.sample(words, Tags.columns).height == 10
    long = pl.DataFrame({"text": ["x" * 500] * 3, "label": ["a"] * 3})
    assert sampling.sample(long, COLUMNS).height == 1


@pytest.mark.slow
def test_how_many_rows_baselines_learn_from_is_said_where_it_is_not_all(
    tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    its = way(tmp_path, tiny_model)
    its.tokenize()
    its.train()
    assert "baseline_rows" not in its.evaluate()
    monkeypatch.setattr(sampling, "MOST_CHARACTERS", 1000)
    found = its.evaluate()
    assert 3 <= found["baseline_rows"] < pl.read_parquet(its.paths.split("train")).height
    assert found["baselines"].keys() == {"majority", "tfidf_linear"}
