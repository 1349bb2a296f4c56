"""Text regression: numbers in their own units, a threshold, and the ratings of queries as their file holds them."""

from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch

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
from tests.support.rows import TOPICS
from tests.support.six_stages import through


def made_with(**own: Any) -> Problem:
    params = Params.model_validate({"problem": "text_regression", "text_regression": own})
    return problems.load(params.problem, params.own)


PROBLEM = made_with()


def test_numbers_of_any_size_are_learned_from_their_mean_in_units_of_their_spread() -> None:
    rows = pl.DataFrame({"number": [9_000.0, 11_000.0, 10_000.0]})
    targets = PROBLEM.learn_targets(rows)
    assert targets == {"mean": 10_000.0, "spread": 816.497}
    labels = PROBLEM.labels(rows, targets)  # type: ignore[attr-defined]
    assert labels.to_pylist() == pytest.approx([-1.2247, 1.2247, 0], abs=1e-4)
    found = PROBLEM.predict(None, None, {}, targets, torch.tensor([[-1.2247], [0.0]]))  # type: ignore[arg-type]
    assert [row["predicted"] for row in found] == pytest.approx([9_000, 10_000], abs=0.1)


@pytest.mark.parametrize("numbers", [[3.0, 3.0], [1.0, 2.0]])
def test_numbers_that_are_all_the_same_and_those_that_params_leave_as_they_are(numbers: list[float]) -> None:
    problem = PROBLEM if numbers[0] == numbers[1] else made_with(standardize=False)
    assert problem.learn_targets(pl.DataFrame({"number": numbers})) == {"mean": 0.0, "spread": 1.0}


@pytest.mark.slow
def test_the_package_answers_in_the_numbers_own_units(tmp_path: Path, tiny_model: Path) -> None:
    rows = [
        {"text": f"{TOPICS[number % 3]} {number}", "number": 10_000 + 100 * (number % 3)}
        for number in range(60)
    ]
    more = {"problem": "text_regression", "text_regression": {"threshold": 10_050}}
    problem, paths = through(tmp_path, tiny_model, rows, **more)
    scores = read_json(paths.metric("evaluate"))
    assert scores["mean_absolute_error"] < 200
    assert set(scores) >= {*problem.metrics}
    assert set(scores["baselines"]) == {"mean", "tfidf_ridge"}
    # a package as the base of another training is turned back to units of the spread
    targets = {"mean": 10_100.0, "spread": 80.0}
    processor = problem.load_processor(paths.package)
    again, _ = problem.model(paths.package, processor, targets)
    served = torch.tensor([[10_060.0]])
    layer = heads.last_layer(again)
    assert layer is not None
    assert layer.bias.abs().item() < 10
    assert not again.config.answers_in_numbers
    assert problem.predict(again, processor, {}, targets, (served - 10_100) / 80)[0][
        "predicted"
    ] == pytest.approx(10_060)


def test_accuracy_at_a_threshold_says_how_often_both_numbers_lie_on_one_side() -> None:
    problem = made_with(threshold=0.8)
    rows = pl.DataFrame({"number": [0.8, 0.6, 1.0, 0.166666666667]})
    predictions = pl.DataFrame({"predicted": [0.8, 0.81, 0.7, 0.2]})
    assert values(problem.measure(predictions, rows, {}))["accuracy"] == 0.5
    assert "accuracy" not in values(PROBLEM.measure(predictions, rows, {}))
    assert "accuracy" in problem.metrics


@pytest.mark.parametrize(
    ("params", "said"),
    [
        (
            {"label_smoothing_factor": 0.1},
            "train.label_smoothing_factor is for one label per row or token; set it to 0",
        ),
        (
            {"class_weights": "balanced"},
            "train.class_weights: text-classification has no classes here; set it to none",
        ),
    ],
)
def test_what_is_for_labels_is_refused(params: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        PROBLEM.loss(pl.DataFrame({"number": [1.0]}), {}, Train(**params))


def test_a_head_without_a_bias_is_refused_for_numbers_from_their_mean(
    tmp_path: Path, tiny_model: Path
) -> None:
    from transformers import GPT2Config, GPT2ForSequenceClassification

    sizes = {"vocab_size": 50, "n_embd": 16, "n_layer": 1, "n_head": 2, "num_labels": 1, "pad_token_id": 0}
    GPT2ForSequenceClassification(GPT2Config(**sizes)).save_pretrained(tmp_path)
    processor = PROBLEM.processor(tiny_model, pl.LazyFrame(), Tokenize())
    with pytest.raises(InputError, match="a gpt2 model has no bias to answer in the numbers' units by"):
        PROBLEM.model(tmp_path, processor, {"mean": 3.0, "spread": 1.0})
    assert (
        PROBLEM.model(tmp_path, processor, {"mean": 0.0, "spread": 1.0})[0].config.problem_type
        == "regression"
    )


@pytest.mark.shared
def test_ratings_of_queries_are_taken_whole_from_tables_without_a_header(tmp_path: Path) -> None:
    files = {"train_file": "train.tsv", "validation_file": "dev.tsv", "test_file": "test.tsv"}
    data = Data(path=str(SHARED / "query_wellformedness"), column_names=["text", "number"], **files)
    ingest(data, Ingest(), PROBLEM, Paths(tmp_path))
    assert "notes" not in read_json(Paths(tmp_path).metric("ingest"))
    split(Split(method="predefined"), PROBLEM.columns, Paths(tmp_path))
    parts = {name: pl.read_parquet(Paths(tmp_path).split(name)) for name in ("train", "validation", "test")}
    assert {name: part.height for name, part in parts.items()} == {
        "train": 17_500,
        "validation": 3_750,
        "test": 3_850,
    }
    # the first row is no header, text is tokenised, and sixths stand among multiples of 0.2
    assert parts["train"].row(0, named=True)["text"] == "The European Union includes how many ?"
    assert 0.166666666667 in parts["train"]["number"]
    shares = [round(100 * (part["number"] >= 0.8).mean(), 1) for part in parts.values()]
    assert shares == [38.9, 38.9, 38.4]
    assert read_json(Paths(tmp_path).metric("split"))["in_train_and_test"] == 0
