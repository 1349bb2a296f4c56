"""Text classification: from logits to labels with their probability, and what anyone predicts without a transformer."""

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from sklearn.utils.class_weight import compute_class_weight
from torch.nn import functional

from tasks import problems
from tasks.ingest import ingest
from tasks.problems import Problem
from tasks.problems.common import heads
from tasks.shared.errors import InputError
from tasks.shared.files import read_json
from tasks.shared.params import Data, Ingest, Params, Split, Tokenize, Train
from tasks.shared.paths import Paths
from tasks.shared.statistics import values
from tasks.split import split
from tests.support.project import SHARED
from tests.support.rows import FILLERS, NAMES, TOPICS
from tests.support.six_stages import through

PROBLEM = problems.load("text_classification")
TARGETS = {"labels": ["a", "b"]}


def test_logits_become_labels_with_their_probability() -> None:
    logits = torch.tensor([[0, 1], [0, np.log(3)], [1000, 1003]])
    found = PROBLEM.predict(None, None, {}, TARGETS, logits)  # type: ignore[arg-type]
    assert [row["predicted"] for row in found] == ["b", "b", "b"]
    expected = [1 / (1 + np.exp(-1)), 0.75, 1 / (1 + np.exp(-3))]
    assert [row["confidence"] for row in found] == pytest.approx(expected)


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
def test_logits_that_are_no_finite_numbers_have_no_probability(wrong: float) -> None:
    found = PROBLEM.predict(None, None, {}, TARGETS, torch.tensor([[0, wrong], [0, 1]]))  # type: ignore[arg-type]
    assert np.isnan(found[0]["confidence"])
    assert found[1]["confidence"] > 0.5


def test_only_predictions_with_a_confidence_have_a_calibration_error() -> None:
    rows = pl.DataFrame({"label": ["a", "b", "b"]})
    predictions = pl.DataFrame({"predicted": ["a", "b", "a"]})
    assert set(PROBLEM.measure(predictions, rows, TARGETS)) == {"accuracy", "macro_f1", "weighted_f1"}
    surer = predictions.with_columns(confidence=pl.Series([0.9, 0.8, 0.6]))
    assert "calibration_error" in PROBLEM.measure(surer, rows, TARGETS)


def test_the_majority_baseline_says_the_most_frequent_label() -> None:
    train = pl.DataFrame(
        {"text": ["red apple", "red cherry", "blue sea", "red rose"], "label": ["b", "b", "a", "b"]}
    )
    test = pl.DataFrame({"text": ["red wine", "blue sky"], "label": ["b", "a"]})
    scores = {}
    for name, predicted in PROBLEM.baselines(train, test, TARGETS).items():
        scores[name] = values(PROBLEM.measure(predicted, test, TARGETS))["accuracy"]
    assert scores == {"majority": 0.5, "tfidf_linear": 1.0}


def made_with(**own: Any) -> Problem:
    params = Params.model_validate({"text_classification": own})
    return problems.load(params.problem, params.own)


# pairs of texts


def test_a_pair_of_texts_is_encoded_as_the_tokenizer_does_it(tiny_model: Path) -> None:
    problem = made_with()
    rows = pl.DataFrame(
        {
            "text": ["where is my order", "no"],
            "text_pair": ["refund", "a jacket of another size " * 9],
            "label": ["a", "b"],
        }
    )
    processor = problem.processor(tiny_model, rows.lazy(), Tokenize(max_length=16))
    (batch,) = problem.encode(processor, rows, TARGETS, Tokenize(max_length=16))
    expected = processor(rows["text"].to_list(), rows["text_pair"].to_list(), truncation=True, max_length=16)
    assert batch.inputs["input_ids"].to_pylist() == expected["input_ids"]
    assert batch.inputs["token_type_ids"].to_pylist() == expected["token_type_ids"]
    assert batch.truncated == 1
    assert set(batch.inputs["token_type_ids"].to_pylist()[0]) == {0, 1}


@pytest.mark.slow
def test_pairs_go_through_all_stages_and_are_served_by_their_names(tmp_path: Path, tiny_model: Path) -> None:
    rows = []
    for number in range(60):
        topic, word = number % 3, FILLERS[number % len(FILLERS)]
        rows.append(
            {"text": f"{word} {number % 12}", "premise": f"{TOPICS[topic]} {number}", "label": NAMES[topic]}
        )
    more = {"data": {"columns": {"text_pair": "premise"}}, "train": {"class_weights": "balanced"}}
    own = {"calibration": "temperature", "out_of_scope": NAMES[0]}
    _, paths = through(tmp_path, tiny_model, rows, text_classification=own, **more)
    # package has compared what the pipeline says of each pair
    assert read_json(paths.metric("package"))["predictions_repeated"] > 5
    assert '{"text": ' in (paths.package / "README.md").read_text("utf-8")
    assert read_json(paths.metric("train"))["temperature"] > 0
    assert {"in_scope_accuracy", "out_of_scope_recall"} <= read_json(paths.metric("evaluate")).keys()
    # an equal text before another one is another row
    assert len(set(pl.read_parquet(paths.ingested / "rows.parquet")["id"])) == 60


def test_a_column_called_text_pair_is_none_unless_params_name_it(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("text,text_pair,label\nhello,you,greet\nbye,,leave\n")
    for named, column, rows in (({}, "raw_text_pair", 2), ({"text_pair": "text_pair"}, "text_pair", 1)):
        data = Data(path=str(tmp_path / "rows.csv"), columns=named)
        ingest(data, Ingest(max_rejected=0.9), PROBLEM, Paths(tmp_path))
        found = pl.read_parquet(Paths(tmp_path).ingested / "rows.parquet")
        assert (column in found.columns, found.height) == (True, rows)


# what is out of scope


def test_in_scope_accuracy_and_out_of_scope_recall_are_measured_apart() -> None:
    problem = made_with(out_of_scope="oos")
    targets = {"labels": ["a", "b", "oos"]}
    rows = pl.DataFrame({"label": ["a", "a", "b", "oos", "oos"]})
    predictions = pl.DataFrame({"predicted": ["a", "oos", "b", "oos", "a"]})
    found = values(problem.measure(predictions, rows, targets))
    assert found["in_scope_accuracy"] == 2 / 3
    assert found["out_of_scope_recall"] == 1 / 2
    assert {"in_scope_accuracy", "out_of_scope_recall"} <= {*problem.metrics}
    assert "out_of_scope_recall" not in PROBLEM.metrics


def test_a_class_of_what_is_out_of_scope_that_train_lacks_is_refused() -> None:
    with pytest.raises(
        InputError, match=r"out_of_scope: no train row has the label 'oss'; did you mean 'oos'\?"
    ):
        made_with(out_of_scope="oss").learn_targets(pl.DataFrame({"label": ["a", "oos"]}))


@pytest.mark.shared
def test_clinc150_is_split_as_its_file_says_out_of_scope_rows_included(tmp_path: Path) -> None:
    splits = {
        "train_file": "#train+oos_train",
        "validation_file": "#val+oos_val",
        "test_file": "#test+oos_test",
    }
    data = Data(path=str(SHARED / "clinc150/data_full.json"), column_names=["text", "label"], **splits)
    ingest(data, Ingest(), PROBLEM, Paths(tmp_path))
    split(Split(method="predefined"), PROBLEM.columns, Paths(tmp_path))
    found = read_json(Paths(tmp_path).metric("split"))
    # 2 texts of test stand in train too, in the words of the data set's description
    assert (found["train"], found["validation"], found["test"], found["in_train_and_test"]) == (
        15_100,
        3_100,
        5_500,
        2,
    )
    assert found["labels"]["label"]["test"]["oos"] == 1_000
    assert len(found["labels"]["label"]["train"]) == 151


# class weights


def test_balanced_weights_are_those_of_scikit_learn_and_the_loss_is_pytorchs() -> None:
    train = pl.DataFrame({"label": ["a", "b", "b", "b"]})
    assert PROBLEM.loss(train, TARGETS, Train()) is None
    loss = PROBLEM.loss(train, TARGETS, Train(class_weights="balanced", label_smoothing_factor=0.1))
    assert loss is not None
    weights = compute_class_weight("balanced", classes=np.array(["a", "b"]), y=train["label"].to_numpy())
    logits, labels = torch.tensor([[0.5, -1.0], [2.0, 0.0], [0.0, 0.1]]), torch.tensor([0, 1, 1])
    each = functional.cross_entropy(
        logits, labels, torch.tensor(weights, dtype=torch.float32), reduction="none", label_smoothing=0.1
    )
    assert loss({"logits": logits}, labels) == pytest.approx(each.mean().item())
    # as the Trainer asks where gradients are added up: parts of a batch sum to the whole
    parts = [
        loss({"logits": logits[at]}, labels[at], num_items_in_batch=torch.tensor(3))
        for at in (slice(0, 2), slice(2, 3))
    ]
    assert sum(parts).item() == pytest.approx(each.mean().item())


# calibration


def test_the_temperature_is_the_one_that_made_the_logits() -> None:
    random = np.random.default_rng(0)
    logits = random.normal(0, 2, (4000, 5))
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    labels = np.array([random.choice(5, p=row) for row in shares])
    assert heads.temperature(3 * logits, labels) == pytest.approx(3, rel=0.1)


def test_a_head_that_is_rescaled_answers_so(tiny_model: Path) -> None:
    processor = PROBLEM.processor(tiny_model, pl.LazyFrame(), Tokenize())
    model, _ = PROBLEM.model(tiny_model, processor, TARGETS)
    batch = processor(["where is my order"], return_tensors="pt")
    model.eval()
    with torch.inference_mode():
        before = model(**batch).logits
        heads.rescale(model, 0.5, 2)
        assert torch.allclose(model(**batch).logits, before / 2 + 2, atol=1e-6)
