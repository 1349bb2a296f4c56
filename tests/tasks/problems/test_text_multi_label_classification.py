"""Any number of labels per text: thresholds from validation, rows that lack labels, and NLU++ as its files hold it."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from sklearn.metrics import f1_score
from torch.nn import functional

from tasks import problems
from tasks.ingest import ingest
from tasks.problems import Problem
from tasks.problems.text_multi_label_classification.thresholds import best, one, per_label
from tasks.shared.errors import InputError
from tasks.shared.files import read_json
from tasks.shared.params import Data, Ingest, Params, Split, Train
from tasks.shared.paths import Paths
from tasks.shared.statistics import values
from tasks.split import split
from tests.support.project import SHARED
from tests.support.rows import generated
from tests.support.six_stages import through


def made_with(**own: Any) -> Problem:
    params = Params.model_validate(
        {"problem": "text_multi_label_classification", "text_multi_label_classification": own}
    )
    return problems.load(params.problem, params.own)


PROBLEM = made_with()
TARGETS = {"labels": ["a", "b", "c"]}


class Config:
    """As much of a model as predictions read: its config."""

    def __init__(self, **thresholds: float) -> None:
        self.config = self
        self.thresholds = thresholds


def logit(share: float) -> float:
    return float(np.log(share / (1 - share)))


# thresholds


def test_labels_apply_from_their_thresholds_on() -> None:
    logits = torch.tensor([[logit(0.4), logit(0.6), logit(0.1)], [logit(0.2)] * 3])
    half = PROBLEM.predict(None, None, {}, TARGETS, logits)  # type: ignore[arg-type]
    assert [row["predicted"] for row in half] == [["b"], []]
    assert [row["other"] for row in half] == ["a", "a"]
    own = PROBLEM.predict(Config(a=0.35, b=0.7, c=0.19), None, {}, TARGETS, logits)  # type: ignore[arg-type]
    assert [row["predicted"] for row in own] == [["a"], ["c"]]
    assert own[0]["scores"] == "0.400000"


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
def test_logits_that_are_no_finite_numbers_leave_no_finite_score(wrong: float) -> None:
    (row,) = PROBLEM.predict(None, None, {}, TARGETS, torch.tensor([[0.0, wrong, -1.0]]))  # type: ignore[arg-type]
    assert np.isnan(row["other_score"])


@pytest.mark.slow
def test_the_best_threshold_is_the_best_of_all_by_scikit_learn() -> None:
    random = np.random.default_rng(0)
    for _ in range(10):
        has = random.random(60) < 0.3
        scores = np.round(np.clip(0.4 * has + random.normal(0.3, 0.2, 60), 0.01, 0.99), 2)
        tried = [f1_score(has, scores >= least, zero_division=0) for least in np.linspace(-0.005, 0.995, 101)]
        assert f1_score(has, scores >= best(scores, has)) == pytest.approx(max(tried))


def test_of_equally_good_thresholds_the_one_nearest_to_a_half_is_taken() -> None:
    assert best(np.array([0.9, 0.1]), np.array([True, False])) == pytest.approx(0.5)
    assert best(np.array([0.9, 0.1]), np.array([False, False])) == 0.5


def test_rare_labels_share_one_threshold() -> None:
    scores = np.full((30, 2), 0.3)
    scores[:12, 0] = 0.4
    has = scores > 0.35
    has[0, 1] = True
    found = per_label(scores, has)
    assert found[0] == pytest.approx(0.35)
    assert found[1] == one(scores, has)[1]


def test_thresholds_stand_in_the_package_and_serve_as_its_card_says(tmp_path: Path, tiny_model: Path) -> None:
    from transformers import pipeline

    problem, name = made_with(thresholds="per_label"), "text_multi_label_classification"
    own = {"thresholds": "per_label"}
    train = {"num_train_epochs": 3.0, "learning_rate": 0.01, "class_weights": "balanced"}
    _, paths = through(
        tmp_path, tiny_model, generated(problem.columns, 90), problem=name, **{name: own}, train=train
    )
    thresholds = read_json(paths.package / "config.json")["thresholds"]
    assert thresholds == read_json(paths.metric("train"))["thresholds"]
    assert set(thresholds) == {"delivery", "payment", "product"}
    assert problem.served_then in (paths.package / "README.md").read_text("utf-8")
    predict = pipeline("text-classification", model=str(paths.package))
    test = pl.read_parquet(paths.split("test"))
    # the card's own lines
    *lines, last = problem.served_then.splitlines()
    said = []
    for answer in predict(test["text"].to_list(), **problem.served_with):
        names = {"predict": predict, "answer": answer}
        exec("\n".join(lines), names)  # noqa: S102
        said += [sorted(eval(last, names))]  # noqa: S307
    predicted = pl.read_csv(paths.plots / "predictions.csv")["predicted"]
    assert said == [json.loads(text) for text in predicted]


# measures, losses


def test_f1_is_over_labels_of_each_label_and_of_each_row() -> None:
    rows = pl.DataFrame({"labels": [["a", "b"], [], ["c"]]}, schema={"labels": pl.List(pl.String)})
    predictions = pl.DataFrame(
        {"predicted": [["a"], [], ["c", "b"]]}, schema={"predicted": pl.List(pl.String)}
    )
    found = values(PROBLEM.measure(predictions, rows, TARGETS))
    assert found["micro_f1"] == 2 * 2 / (3 + 3)
    assert found["macro_f1"] == pytest.approx((1 + 0 + 1) / 3)
    assert found["samples_f1"] == pytest.approx((2 / 3 + 1 + 2 / 3) / 3)
    assert found["exact_match"] == pytest.approx(1 / 3)
    assert {*PROBLEM.metrics} == found.keys()


def test_balanced_classes_weigh_the_rows_that_have_a_label_as_much_as_the_others() -> None:
    train = pl.DataFrame({"labels": [["a"], ["a", "b"], ["a"], []]}, schema={"labels": pl.List(pl.String)})
    loss = PROBLEM.loss(train, {"labels": ["a", "b"]}, Train(class_weights="balanced"))
    assert loss is not None
    logits, labels = torch.tensor([[0.5, -1.0], [2.0, 0.0]]), torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    expected = functional.binary_cross_entropy_with_logits(
        logits, labels, pos_weight=torch.tensor([1 / 3, 3.0])
    )
    assert loss({"logits": logits}, labels) == pytest.approx(expected.item())


def test_label_smoothing_is_refused() -> None:
    with pytest.raises(InputError, match="label_smoothing_factor is for one label per row"):
        PROBLEM.loss(pl.DataFrame({"labels": [["a"]]}), TARGETS, Train(label_smoothing_factor=0.1))


# NLU++


@pytest.mark.shared
@pytest.mark.parametrize(
    ("domain", "rows", "labels", "without", "most"),
    [("banking", 2_071, 48, 88, 6), ("hotels", 1_009, 40, 274, 5)],
)
def test_rows_of_nlupp_without_intents_have_no_label_or_are_rejected(
    tmp_path: Path, domain: str, rows: int, labels: int, without: int, most: int
) -> None:
    data = Data(path=str(SHARED / "nlupp" / domain), columns={"labels": "intents"})
    ingest(data, Ingest(drop_duplicates=False, missing_labels="none"), PROBLEM, Paths(tmp_path))
    found = pl.read_parquet(Paths(tmp_path).ingested / "rows.parquet")
    assert (found.height, found["labels"].explode().drop_nulls().n_unique()) == (rows, labels)
    lengths = found["labels"].list.len()
    assert ((lengths == 0).sum(), lengths.max()) == (without, most)
    # nested, of many types, and not what the problem wants: carried along as text
    assert found["slots"].dtype == pl.String
    with pytest.raises(
        InputError, match=rf"{without} of {rows} rows are rejected.*{without} labels: missing"
    ):
        ingest(data, Ingest(max_rejected=0.01), PROBLEM, Paths(tmp_path / "other"))


@pytest.mark.shared
def test_folds_of_nlupp_become_splits_by_a_glob(tmp_path: Path) -> None:
    data = Data(
        path=str(SHARED / "nlupp/banking"),
        train_file="fold*[!05].json",
        test_file="fold*[05].json",
        columns={"labels": "intents"},
    )
    ingest(data, Ingest(missing_labels="none"), PROBLEM, Paths(tmp_path))
    split(Split(method="predefined"), PROBLEM.columns, Paths(tmp_path))
    test = pl.read_parquet(Paths(tmp_path).split("test"))
    assert sorted(test["source_file"].unique()) == ["fold0.json", "fold10.json", "fold15.json", "fold5.json"]
    assert (test.height, test["labels"].explode().drop_nulls().n_unique()) == (416, 48)
