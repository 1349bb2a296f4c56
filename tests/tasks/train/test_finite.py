"""Training that diverges ends with one sentence before its weights are kept, and NaN neither compares nor enters a file."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load_file, save_file
from transformers import BertConfig, BertForSequenceClassification, DefaultDataCollator, TrainingArguments

from tasks.package import repeat
from tasks.shared.errors import InputError
from tasks.shared.files import write_json
from tasks.shared.params import Evaluate, Train
from tasks.train.checkpoints import last_whole, mark
from tasks.train.divergence import check_weights
from tasks.train.epochs import EpochSampler
from tasks.train.trainer import SeededTrainer
from tests.support.tiny import NO_DROPOUT, SIZES
from tests.support.way import PROBLEM, Way, way


@pytest.fixture(scope="module")
def tokens(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Path:
    """A folder in which tokenize has run."""
    made = way(tmp_path_factory.mktemp("tokens") / "way", tiny_model)
    made.tokenize()
    return made.folder


def copy(tokens: Path, folder: Path, base: Path, **changes: dict[str, Any]) -> Way:
    return Way(shutil.copytree(tokens, folder / "way"), base, changes)


def sentence(made: Way) -> str:
    """Return the one sentence with which training ends; nothing of it may be kept."""
    with pytest.raises(InputError) as error:
        made.train()
    assert "\n" not in str(error.value)
    assert not (made.paths.checkpoint).exists()
    assert not made.paths.metric("train").exists()
    assert list(made.folder.glob("resume/checkpoint-*")) == []
    return str(error.value)


@pytest.mark.parametrize("metric", ["loss", "macro_f1"])
def test_an_epsilon_of_nothing_ends_training_and_is_named(
    tmp_path: Path, tokens: Path, tiny_model: Path, metric: str
) -> None:
    changes = {"max_steps": 20, "adam_epsilon": 1e-50, "metric_for_best_model": metric}
    said = sentence(copy(tokens, tmp_path, tiny_model, train=changes))
    assert said.startswith(
        "training diverged: the training loss at step 2 is nan; raise train.adam_epsilon to 1e-08 (now 1e-50)"
    )
    assert "lower train.learning_rate (now 0.0002)" in said


def test_a_last_step_that_no_loss_follows_is_looked_at_too(
    tmp_path: Path, tokens: Path, tiny_model: Path
) -> None:
    said = sentence(copy(tokens, tmp_path, tiny_model, train={"max_steps": 1, "adam_epsilon": 1e-50}))
    assert said.startswith("training diverged: loss on validation at step 1 is nan")


@pytest.mark.parametrize("optim", ["adamw_torch_fused", "adamw_torch"])
def test_gradients_that_overflow_end_training_before_they_reach_the_weights(
    tmp_path: Path, optim: str
) -> None:
    model = BertForSequenceClassification(BertConfig(**SIZES, **NO_DROPOUT))
    model.classifier.weight.register_hook(lambda gradient: gradient * torch.inf)
    before = {name: values.clone() for name, values in model.state_dict().items()}
    rows = [{"input_ids": [1, 2, 3], "labels": 0}] * 4
    arguments = TrainingArguments(
        output_dir=str(tmp_path),
        optim=optim,
        max_grad_norm=1.0,
        use_cpu=True,
        report_to="none",
        disable_tqdm=True,
    )
    order = EpochSampler([3] * 4, 8, "random", 0)
    none: dict[str, Any] = {"problem": PROBLEM, "targets": {}, "rows": pl.DataFrame()}
    given = {"model": model, "args": arguments, "train_dataset": rows, "data_collator": DefaultDataCollator()}
    run = SeededTrainer(sampler=order, curves=tmp_path, **none, **given)
    with pytest.raises(
        InputError,
        match=r"training diverged: the norm of the gradients at step 1 is (nan|inf); lower train.learning_rate",
    ):
        run.train()
    torch.testing.assert_close(model.state_dict(), before, rtol=0, atol=0)


def test_weights_that_no_row_reads_are_looked_at_before_a_checkpoint(tmp_path: Path) -> None:
    model = BertForSequenceClassification(BertConfig(**SIZES))
    arguments = TrainingArguments(output_dir=str(tmp_path), adam_epsilon=1e-50, use_cpu=True)
    check_weights(model, 7, arguments)
    model.get_input_embeddings().weight.data[49] = torch.nan
    with pytest.raises(
        InputError, match=r"after step 7 the weights bert.embeddings.word_embeddings.weight hold NaN"
    ):
        check_weights(model, 7, arguments)


@pytest.mark.parametrize("unread", [True, False])
def test_a_checkpoint_with_weights_that_are_no_numbers_is_never_gone_on_from(
    tmp_path: Path, *, unread: bool
) -> None:
    for step in (10, 20):
        (tmp_path / f"checkpoint-{step}").mkdir()
        weights = torch.ones(4)
        if step == 20:
            weights[3] = float("nan") if unread else float("inf")
        save_file({"weights": weights}, tmp_path / f"checkpoint-{step}/model.safetensors")
        (tmp_path / f"checkpoint-{step}/trainer_state.json").write_text("{}")
        mark(tmp_path / f"checkpoint-{step}")
    assert last_whole(tmp_path) == tmp_path / "checkpoint-10"
    assert not (tmp_path / "checkpoint-20").exists()


def test_a_training_that_nothing_was_evaluated_in_says_so(
    tmp_path: Path, tokens: Path, tiny_model: Path
) -> None:
    made = copy(tokens, tmp_path, tiny_model, train={"max_steps": 2, "extra": {"eval_delay": 5}})
    with pytest.raises(InputError, match=r"ended before anything was evaluated.*eval_delay"):
        made.train()


def spoil(file: Path) -> None:
    """Have a classifier answer with NaN."""
    weights = load_file(file)
    bias = torch.full_like(weights["classifier.bias"], torch.nan)
    save_file({**weights, "classifier.bias": bias}, file, {"format": "pt"})


def test_a_model_that_answers_with_nan_is_not_scored(tmp_path: Path, tokens: Path, tiny_model: Path) -> None:
    made = copy(tokens, tmp_path, tiny_model, train={"max_steps": 1})
    made.train()
    spoil(made.paths.checkpoint / "model.safetensors")
    with pytest.raises(InputError, match=r"answers (\d+) of \1 test rows with NaN"):
        made.evaluate()
    assert not made.paths.metric("evaluate").exists()


@pytest.mark.slow
def test_a_package_that_serves_nan_does_not_repeat_anything(
    tmp_path: Path, tokens: Path, tiny_model: Path
) -> None:
    made = copy(tokens, tmp_path, tiny_model, train={"max_steps": 1})
    made.train()
    spoil(made.paths.checkpoint / "model.safetensors")
    test = pl.read_parquet(made.paths.split("test")).head(1)
    label = pl.read_parquet(made.paths.split("train"))["label"].unique().sort()[0]
    expected = test.select("id", actual="label").with_columns(
        predicted=pl.lit(label), confidence=pl.lit(float("nan"))
    )
    with pytest.raises(InputError, match="the packaged model says"):
        repeat(PROBLEM, made.paths.checkpoint, test, expected)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -np.float64("inf")])
def test_no_json_file_holds_a_number_that_is_none(tmp_path: Path, value: float) -> None:
    with pytest.raises(
        InputError, match=r"scores\.json: validation\.1\.loss -?(nan|inf) is no finite number"
    ):
        write_json(tmp_path / "scores.json", {"steps": 3, "validation": [{}, {"loss": value}]})
    assert not (tmp_path / "scores.json").exists()


@pytest.mark.parametrize(
    ("section", "values"),
    [
        (Train, {"warmup_steps": float("inf")}),
        (Train, {"extra": {"neftune_noise_alpha": float("nan")}}),
        (Evaluate, {"confidence_level": float("nan")}),
    ],
)
def test_no_param_is_nan_or_infinite(section: type[Train], values: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match=r"finite number|less than 1"):
        section.model_validate(values)
