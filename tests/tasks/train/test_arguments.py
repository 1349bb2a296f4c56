"""What the Trainer is given: params alone decide it, and what it does not take is said before a model is loaded."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from tasks.shared.errors import InputError
from tasks.shared.files import digests, read_json
from tasks.shared.params import Train
from tasks.train.arguments import training_arguments
from tests.support.way import Way, way


@pytest.fixture(scope="module")
def tokens(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Path:
    """A folder in which tokenize has run."""
    made = way(tmp_path_factory.mktemp("tokens") / "way", tiny_model)
    made.tokenize()
    return made.folder


def copy(tokens: Path, folder: Path, base: Path, **changes: Any) -> Way:
    return Way(shutil.copytree(tokens, folder), base, {"train": {"max_steps": 4, **changes}})


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"optim": "sgd", "extra": {"optim_args": "foo"}}, "not enough values"),
        ({"optim": "sgd", "extra": {"optim_args": "momentum=much"}}, "could not convert"),
        ({"extra": {"lr_scheduler_kwargs": {"nonsense": 1}}}, "nonsense"),
        ({"lr_scheduler_type": "polynomial", "learning_rate": 1e-8}, "must be smaller than initial lr"),
        ({"extra": {"log_level": "loud"}}, "loud"),
        ({"extra": {"debug": "all"}}, "all"),
    ],
)
def test_what_optimizer_and_schedule_do_not_take_is_a_sentence_before_there_is_a_model(
    tmp_path: Path, given: dict[str, Any], said: str
) -> None:
    with pytest.raises(InputError, match=f"^TrainingArguments does not take this: .*{said}"):
        training_arguments(Train.model_validate(given), tmp_path, "fp32", "loss", on_cpu=True)


@pytest.mark.slow
def test_a_training_in_fp32_is_one_whatever_accelerate_is_told_by_the_environment(
    tmp_path: Path, tokens: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = []
    for told in ("no", "bf16"):
        monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", told)
        made = copy(tokens, tmp_path / told, tiny_model, precision="fp32")
        made.train()
        assert read_json(made.paths.metric("train"))["precision"] == "fp32"
        found.append(digests(made.paths.checkpoint))
    assert found[0] == found[1]
