"""The schema: what is refused and how, what is read leniently, and that it speaks the Trainer's language."""

import re
import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any, get_args

import pytest

from tasks.shared.errors import InputError
from tasks.shared.extra import ALLOWED, MANAGED, OUTSIDE, training_arguments
from tasks.shared.params import Params, Train
from tasks.shared.params.train import Optimizer
from tasks.shared.params_file import MOVED, Layer, lay_over
from tests.support.project import ROOT

# a value of each type that an argument of the Trainer may have
PLAIN = {"bool": True, "int": 1, "float": 1, "str": "", "dict": None, "None": None}


def refused(section: str, **values: Any) -> str:
    """Return the sentence with which values of a section are refused."""
    with pytest.raises(InputError) as error:
        lay_over(Layer("params.yaml", {section: values}))
    sentence = str(error.value)
    assert sentence.startswith("params.yaml: ")
    return sentence


@pytest.mark.parametrize(
    ("section", "field", "value", "allowed"),
    [
        ("data", "format", "xlsx", "'csv'"),
        ("data", "header", "perhaps", "boolean"),
        ("ingest", "max_rejected", 1.0, "less than 1"),
        ("ingest", "max_chars", 0, "greater than or equal to 1"),
        (
            "split",
            "method",
            "random",
            "'stable', 'stratified', 'by_time', 'by_group', 'by_position' or 'predefined'",
        ),
        ("split", "test_share", -0.1, "greater than or equal to 0"),
        ("split", "seed", 2**32, "less than 4294967296"),
        ("split", "time_column", "", "at least 1 character"),
        ("tokenize", "max_length", 3, "greater than or equal to 4"),
        ("tokenize", "max_length", 12.5, "valid integer"),
        ("train", "num_train_epochs", 0, "greater than 0"),
        ("train", "learning_rate", "fast", "valid number"),
        ("train", "learning_rate", float("nan"), "less than or equal to 1"),
        ("train", "precision", "fp8", "'auto', 'fp32', 'bf16' or 'fp16'"),
        ("train", "lr_scheduler_type", "linaer", "'linear'"),
        ("train", "early_stopping_patience", 0, "greater than or equal to 1"),
        ("evaluate", "confidence_level", 95, "less than 1"),
        ("evaluate", "n_resamples", 10, "greater than or equal to 100"),
        ("package", "name", "../elsewhere", "match pattern"),
        ("package", "name", "rm -rf $HOME", "match pattern"),
    ],
)
def test_a_wrong_value_is_refused_with_field_value_and_what_is_allowed(
    section: str, field: str, value: Any, allowed: str
) -> None:
    sentence = refused(section, **{field: value})
    assert sentence.startswith(f"params.yaml: {section}.{field}: {value!r} is not allowed: ")
    assert allowed in sentence


@pytest.mark.parametrize("pattern", ["{}/{}.png", "{label}/{label}_{}.png", "{²}_{}.png"])
def test_parts_of_a_path_have_names_of_their_own(pattern: str) -> None:
    assert f"in '{pattern}' " in refused("data", media_path=pattern)


def test_a_column_that_is_named_twice_is_sliced_once() -> None:
    assert Params.model_validate(
        {"evaluate": {"slices": ["label", "source_file", "label"]}}
    ).evaluate.slices == [
        "label",
        "source_file",
    ]


def test_every_wrong_field_is_told_at_once_on_a_line_of_its_own() -> None:
    with pytest.raises(InputError) as error:
        lay_over(
            Layer("params.yaml", {"train": {"learning_rate": 2, "max_steps": -2}, "split": {"seed": -1}})
        )
    assert {line.split(": ")[1] for line in str(error.value).splitlines()} == {
        "split.seed",
        "train.max_steps",
        "train.learning_rate",
    }


@pytest.mark.parametrize(
    ("values", "wrong", "right"),
    [
        ({"trian": {}}, "trian", "train"),
        ({"train": {"learnig_rate": 1e-5}}, "train.learnig_rate", "train.learning_rate"),
        ({"train": {"epohcs": 3}}, "train.epohcs", "train.epochs"),
        ({"split": {"test_size": 0.2}}, "split.test_size", "split.test_share"),
        ({"data": {"column": {}}}, "data.column", "data.columns"),
    ],
)
def test_an_unknown_name_is_refused_with_the_nearest_known(
    values: dict[str, Any], wrong: str, right: str
) -> None:
    with pytest.raises(InputError, match=rf"^cli: there is no param '{wrong}'; did you mean '{right}'\?$"):
        lay_over(Layer("cli", values))


def test_params_cannot_be_changed_in_place() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Params().train.learning_rate = 1.0  # type: ignore[misc]


def test_names_of_choices_are_plain_strings_for_yaml() -> None:
    dumped = Params().model_dump()
    assert type(dumped["split"]["method"]) is str
    assert type(dumped["train"]["precision"]) is str
    assert type(Params.model_validate({"split": {"method": "stratified"}}).split.method) is str


def test_epochs_is_another_name_for_num_train_epochs() -> None:
    assert lay_over(Layer("cli", {"train": {"epochs": 2}})).train.num_train_epochs == 2


def test_the_problem_may_be_spelled_as_the_hub_spells_it() -> None:
    assert lay_over(Layer("cli", {"problem": "text-classification"})).problem == "text_classification"
    with pytest.raises(InputError, match="did you mean 'text_classification'"):
        lay_over(Layer("cli", {"problem": "text_clasification"}))
    for stranger in ("../params", "__init__", "", "problems.text_classification"):
        with pytest.raises(InputError, match="there is no problem"):
            lay_over(Layer("cli", {"problem": stranger}))


def test_a_split_method_needs_its_column() -> None:
    assert "method by_time needs time_column" in refused("split", method="by_time")
    assert "method by_group needs group_column" in refused("split", method="by_group")
    assert (
        lay_over(Layer("cli", {"split": {"method": "by_time", "time_column": "when"}})).split.time_column
        == "when"
    )


def test_shares_leave_something_for_train() -> None:
    assert "leave nothing for train" in refused("split", validation_share=0.5, test_share=0.5)


def test_files_are_named_in_one_way() -> None:
    assert "give both train_file and test_file" in refused("data", train_file="a.csv")
    assert "give both train_file and test_file" in refused(
        "data", train_file="a.csv", validation_file="b.csv"
    )
    assert "exclude each other" in refused("data", train_file="a.csv", test_file="b.csv", files="*.csv")
    splits = {"train_file": "a.csv", "test_file": "b.csv"}
    assert "set it to predefined" in refused("data", **splits)
    assert (
        lay_over(Layer("cli", {"data": splits, "split": {"method": "predefined"}})).data.test_file == "b.csv"
    )


# the Trainer's arguments


def test_extra_words_from_a_command_line_are_read_as_yaml() -> None:
    extra = Train(
        extra={
            "neftune_noise_alpha": "5",
            "torch_compile_mode": "default",
            "lr_scheduler_kwargs": None,
            "gradient_checkpointing_kwargs": "{use_reentrant: false}",
            "logging_first_step": True,
        }
    ).extra
    assert extra == {
        "neftune_noise_alpha": 5,
        "torch_compile_mode": "default",
        "lr_scheduler_kwargs": None,
        "gradient_checkpointing_kwargs": '{"use_reentrant": false}',
        "logging_first_step": True,
    }


def test_extra_refuses_what_has_a_field_what_is_managed_and_what_does_not_exist() -> None:
    assert "set train.learning_rate" in refused("train", extra={"learning_rate": 1e-4})
    assert "output_dir is decided by retrain" in refused("train", extra={"output_dir": "elsewhere"})
    assert "did you mean 'neftune_noise_alpha'" in refused("train", extra={"neftune_noise_alfa": 5})


@pytest.mark.parametrize(
    ("name", "value", "types"),
    [
        ("ddp_timeout", "soon", "int"),
        ("ddp_timeout", True, "int"),
        ("debug", 5, "str or list"),
        ("logging_first_step", 1, "bool"),
        ("optim_args", 0.9, "str or None"),
        ("lr_scheduler_kwargs", 3, "a mapping or str or None"),
        ("data_seed", 1.5, "int or None"),
    ],
)
def test_extra_refuses_a_value_of_another_type_than_the_trainer_takes(
    name: str, value: Any, types: str
) -> None:
    assert f"{name} {value!r} is not of type {types};" in refused("train", extra={name: value})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        # batches come by timing
        ("dataloader_in_order", False),
        # workers keep the first epoch's draws
        ("dataloader_persistent_workers", True),
        # of validation too, all of which is measured
        ("dataloader_drop_last", True),
        # once more when training goes on
        ("eval_on_start", True),
    ],
)
def test_extra_takes_nothing_by_which_rows_or_evaluations_depend_on_timing_or_a_resume(
    name: str, value: bool
) -> None:
    assert f"train.extra: {name} is decided by retrain" in refused("train", extra={name: value})


def test_every_argument_of_the_trainer_is_judged_and_a_new_one_is_refused_until_it_is() -> None:
    judged = [*ALLOWED, *MANAGED, *OUTSIDE, *Train.model_fields.keys() & training_arguments().keys()]
    assert sorted(judged) == sorted(training_arguments())
    assert "field_of_a_later_release is not one of the allowed" in refused(
        "train", extra={"field_of_a_later_release": 1}
    )


def moved() -> set[str]:
    """Return the arguments that are a param of their own by now, to which their values go."""
    return {name.removeprefix("train.extra.") for name in MOVED if name.startswith("train.extra.")}


@pytest.mark.parametrize("name", sorted(training_arguments().keys() - ALLOWED - moved()))
def test_no_argument_but_an_allowed_one_can_be_set_and_its_value_is_not_repeated(name: str) -> None:
    sentence = refused("train", extra={name: "hf_secret"})
    assert f"train.extra: {name} " in sentence
    assert "hf_secret" not in sentence


@pytest.mark.parametrize("name", sorted(ALLOWED))
def test_no_allowed_argument_speaks_of_files_hubs_tokens_or_services(name: str) -> None:
    from transformers import TrainingArguments

    extra = {name: PLAIN[training_arguments()[name][0]]}
    assert Train(extra=extra).extra == extra
    (told,) = (field.metadata["help"] for field in fields(TrainingArguments) if field.name == name)
    assert not re.search(
        r"\b(path|file|folder|directory|hub|token|wandb|trackio|plugin|backend)\b", told.lower()
    )


def test_argument_names_read_from_source_are_the_real_ones() -> None:
    from transformers import TrainingArguments

    assert training_arguments().keys() == {field.name for field in fields(TrainingArguments)}


def test_every_train_field_but_ours_is_an_argument_of_the_trainer() -> None:
    from tasks.train.arguments import OURS

    assert Train.model_fields.keys() - training_arguments().keys() == OURS


def test_what_train_passes_itself_cannot_be_set_as_extra() -> None:
    from tasks.train.arguments import decided

    assert decided(Train(), Path("folder"), "fp32", "loss", on_cpu=True).keys() <= MANAGED
    assert training_arguments().keys() >= MANAGED


def test_optimizers_are_those_that_the_installed_pins_bring_and_of_each_it_is_known_what_it_keeps() -> None:
    import torch
    from transformers import Trainer, TrainingArguments

    from tasks.train.size import STATE

    weight = torch.nn.Parameter(torch.zeros(1))
    for name in get_args(Optimizer):
        kind, how = Trainer.get_optimizer_cls_and_kwargs(TrainingArguments(optim=name, use_cpu=True))
        assert kind([weight], **how).defaults
    assert {*STATE} == {*get_args(Optimizer)}
    assert "'adamw_8bit' is not allowed: input should be 'adamw_torch_fused', 'adamw_torch'" in refused(
        "train", optim="adamw_8bit"
    )


def test_a_schedule_that_ends_somewhere_is_told_where() -> None:
    sentence = refused("train", lr_scheduler_type="cosine_with_min_lr")
    assert "give extra: {lr_scheduler_kwargs: {min_lr_rate: 0.1}}" in sentence
    told = {"lr_scheduler_type": "cosine_with_min_lr", "extra": {"lr_scheduler_kwargs": {"min_lr_rate": 0.1}}}
    train = lay_over(Layer("params.yaml", {"train": told})).train
    assert train.extra == {"lr_scheduler_kwargs": '{"min_lr_rate": 0.1}'}


@pytest.mark.parametrize("typed", ["{min_lr: 1e-5}", {"min_lr": 1e-5}, '{"min_lr": 1e-05}'])
def test_a_mapping_of_the_trainers_is_the_same_however_it_is_given_and_read_again(typed: Any) -> None:
    train = Train.model_validate({"extra": {"lr_scheduler_kwargs": typed}})
    assert train.extra == {"lr_scheduler_kwargs": '{"min_lr": 1e-05}'}
    assert Train.model_validate(train.model_dump()) == train


def test_a_word_that_is_no_yaml_is_the_word() -> None:
    assert "is not of type bool" in refused("train", extra={"logging_first_step": "{a"})


def test_params_are_known_without_any_library_that_computes() -> None:
    # each command begins with them
    heavy = "print(sorted({'numpy', 'polars', 'torch', 'PIL', 'soundfile'} & set(sys.modules)))"
    code = f"import sys, tasks.shared.params; {heavy}"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
