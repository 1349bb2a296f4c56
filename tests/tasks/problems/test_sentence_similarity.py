"""Sentence similarity: vectors, their losses, and how soon what is alike is found."""

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

from tasks import problems
from tasks.problems import Problem
from tasks.problems.common import pretrained
from tasks.problems.sentence_similarity import retrieval, serve
from tasks.problems.sentence_similarity.embedder import of_labels, of_pairs
from tasks.problems.sentence_similarity.retrieval import by_label, by_pair
from tasks.shared.params import Params, Tokenize
from tasks.shared.statistics import values

# of length 1; the second and the last are nearest to each other
VECTORS = np.array([[1, 0], [0.8, 0.6], [0, 1], [0.6, 0.8]])


def problem(rows: str = "labels") -> Problem:
    params = Params.model_validate({"problem": "sentence_similarity", "sentence_similarity": {"rows": rows}})
    return problems.load("sentence_similarity", params.own)


def test_a_row_looks_for_its_label_among_the_others() -> None:
    found = by_label(VECTORS, ["a", "a", "b", "b"])
    assert found.nearest.tolist() == [1, 3, 3, 1]
    assert found.rank.tolist() == [1, 2, 1, 2]
    # nothing is like a row whose label is its own
    assert by_label(VECTORS, ["a", "c", "b", "b"]).rank.tolist() == [0, 0, 1, 2]


def test_equally_near_rows_do_not_count_as_found_first() -> None:
    found = by_label(np.ones((3, 1)), ["a", "b", "a"])
    assert found.rank.tolist() == [2, 0, 2]
    assert found.nearest.tolist() == [1, 0, 1]


def test_a_row_looks_for_its_pair_among_all() -> None:
    found = by_pair(VECTORS, VECTORS[[0, 3, 2, 1]], ["k", "l", "m", "n"])
    assert found.rank.tolist() == [1, 2, 1, 2]
    assert by_pair(np.ones((2, 1)), np.ones((2, 1)), ["same", "same"]).rank.tolist() == [1, 1]


def test_rows_are_looked_for_in_parts_to_the_same_ranks(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = np.random.default_rng(0).standard_normal((50, 4))
    labels = [str(number % 7) for number in range(50)]
    found = by_label(vectors, labels), by_pair(vectors, vectors[::-1], labels)
    monkeypatch.setattr(retrieval, "MOST_NUMBERS", 8 * len(vectors))
    for one, other in zip(
        found, (by_label(vectors, labels), by_pair(vectors, vectors[::-1], labels)), strict=True
    ):
        assert one.nearest.tolist() == other.nearest.tolist()
        assert one.rank.tolist() == other.rank.tolist()


def test_recall_and_reciprocal_rank_are_means_over_rows() -> None:
    rows = pl.DataFrame({"text": list("wxyz"), "label": ["a", "a", "b", "c"]})
    predictions = pl.DataFrame({"predicted": ["a", "b", "a", "a"], "rank": [1, 2, 0, 6]})
    found = values(problem().measure(predictions, rows, {}))
    assert found["recall_at_1"] == 0.25
    assert found["recall_at_5"] == 0.5
    assert found["recall_at_10"] == 0.75
    assert found["mean_reciprocal_rank"] == pytest.approx((1 + 1 / 2 + 0 + 1 / 6) / 4)


def test_a_batch_of_many_lengths_is_read_in_parts_to_the_same_vectors_and_gradients(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokenizer = pretrained.saved_tokenizer(tiny_model)
    model, _ = problem().model(tiny_model, tokenizer, {})
    model.eval()
    texts = [" ".join(["where is my parcel"] * size) for size in (1, 5, 1, 9, 2, 5, 30)]
    batch = tokenizer(texts, padding=True, truncation=True, return_tensors="pt")
    sizes: list[tuple[int, ...]] = []
    model.get_input_embeddings().register_forward_hook(lambda _, given, __: sizes.append(given[0].shape))
    labels = torch.tensor([0, 1, 0, 1, 2, 2, 0])

    def answer() -> tuple[torch.Tensor, torch.Tensor]:
        said = model(batch["input_ids"], batch["attention_mask"], labels=labels)
        (gradient,) = torch.autograd.grad(said.loss, [model.get_input_embeddings().weight])
        return said.logits, gradient

    parts = answer()
    assert len(sizes) >= 4
    assert sum(rows for rows, _ in sizes) == len(texts)
    read = sum(rows * columns for rows, columns in sizes)
    assert read <= int(batch["attention_mask"].sum()) / 0.9
    monkeypatch.setattr(type(model), "_embedded", type(model)._read)  # type: ignore[attr-defined]
    for mine, whole in zip(parts, answer(), strict=True):
        assert torch.allclose(mine, whole, atol=1e-5)


def test_the_loss_of_labels_is_that_of_khosla_2020() -> None:
    vectors = torch.nn.functional.normalize(
        torch.randn(6, 4, generator=torch.Generator().manual_seed(0)), dim=-1
    )
    labels = torch.tensor([0, 0, 1, 1, 1, 2])
    expected = []
    for row in range(6):
        others = [other for other in range(6) if other != row]
        alike = [other for other in others if labels[other] == labels[row]]
        below = torch.logsumexp(torch.stack([vectors[row] @ vectors[other] / 0.1 for other in others]), 0)
        if alike:
            expected.append(
                torch.stack([below - vectors[row] @ vectors[other] / 0.1 for other in alike]).mean()
            )
    assert of_labels(vectors, labels, 0.1).item() == pytest.approx(
        torch.stack(expected).mean().item(), rel=1e-5
    )


def test_a_batch_in_which_nothing_is_alike_has_no_loss_and_finite_gradients() -> None:
    vectors = torch.randn(3, 4, requires_grad=True)
    loss = of_labels(vectors, torch.tensor([0, 1, 2]), 0.1)
    loss.backward()  # type: ignore[no-untyped-call]
    assert loss.item() == 0
    assert vectors.grad is not None
    assert vectors.grad.isfinite().all()


def test_the_loss_of_pairs_is_least_where_each_is_nearest_to_its_own() -> None:
    texts, none = torch.eye(3), torch.zeros(3, 3, dtype=torch.bool)
    assert of_pairs(texts, texts, 0.1, none).item() < of_pairs(texts, texts.roll(1, 0), 0.1, none).item()


@pytest.mark.parametrize("shared", ["text", "text_pair"])
def test_rows_that_share_a_text_are_not_pushed_apart(shared: str, tiny_model: Path) -> None:
    processor = pretrained.tokenizer(tiny_model, 32)
    its = problem("pairs")
    model: Any = its.model(tiny_model, processor, {})[0].eval()
    rows = pl.DataFrame(
        {"text": ["where is it", "refund me", "thanks"], "text_pair": ["late", "money", "bye"]}
    )
    rows = rows.with_columns(pl.Series(shared, ["please help", "please help", "hello"]))
    (found,) = its.encode(processor, rows, {}, Tokenize(max_length=32))
    said = model(**its.collator(processor)(found.inputs.drop_columns(["length"]).to_pylist()))
    similar = said.logits[:, 0] @ said.logits[:, 1].T / model.temperature
    expected = []
    for table in (similar, similar.T):
        # the first two are right for each other, so neither is one of the other's wrong ones
        expected += [table[0, [0, 2]].logsumexp(0) - table[0, 0], table[1, [1, 2]].logsumexp(0) - table[1, 1]]
        expected.append(table[2].logsumexp(0) - table[2, 2])
    assert said.loss.item() == pytest.approx(torch.stack(expected).mean().item(), rel=1e-5)
    said.loss.backward()
    assert all(weight.grad.isfinite().all() for weight in model.parameters() if weight.grad is not None)


@pytest.mark.parametrize("rows", ["labels", "pairs"])
def test_the_model_is_saved_as_the_base_model_that_it_is(rows: str, tiny_model: Path, tmp_path: Path) -> None:
    processor = pretrained.tokenizer(tiny_model, 32)
    model, said = problem(rows).model(tiny_model, processor, {})
    assert said == []
    model.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    again = serve.load(str(tmp_path))[1]
    assert type(again).__name__ == "BertModel"
    assert all(
        torch.equal(mine, its) for mine, its in zip(model.parameters(), again.parameters(), strict=True)
    )


def test_the_served_vector_is_the_models(tiny_model: Path, tmp_path: Path) -> None:
    processor = pretrained.tokenizer(tiny_model, 32)
    model: Any = problem().model(tiny_model, processor, {})[0].eval()
    model.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    texts = ["where is my order", "thanks", "I want my money back, please " * 9]
    batch = problem().collator(processor)(
        [{"input_ids": ids} for ids in processor(texts, truncation=True)["input_ids"]]
    )
    with torch.inference_mode():
        mine = model(**batch).logits[:, 0]
    assert torch.tensor(serve.answer(*serve.load(str(tmp_path)), texts)).allclose(mine, atol=1e-5)


def test_sentence_transformers_loads_the_package_and_makes_the_same_vectors(
    tiny_model: Path, tmp_path: Path
) -> None:
    sentence_transformers = pytest.importorskip("sentence_transformers")
    processor = pretrained.tokenizer(tiny_model, 32)
    problem().model(tiny_model, processor, {})[0].save_pretrained(tmp_path / "checkpoint")
    processor.save_pretrained(tmp_path / "checkpoint")
    (tmp_path / "package").mkdir()
    problem().export(tmp_path / "checkpoint", tmp_path / "package")
    texts = ["where is my order", "I want my money back, please " * 9]
    its = sentence_transformers.SentenceTransformer(str(tmp_path / "package"), device="cpu").encode(texts)
    assert np.allclose(its, serve.answer(*serve.load(str(tmp_path / "package")), texts), atol=1e-5)
