"""Model types and sizes, as transformers' source says them: what is refused and how, and that none of it is stale."""

from typing import Any

import pytest
import transformers as hf

from tasks.shared.architectures import HEADS, sizes, types, with_head
from tasks.shared.errors import InputError
from tasks.shared.params import Params
from tasks.shared.params_file import Layer, lay_over

BERT = {"type": "bert", "hidden_size": 32}


def laid(**sections: Any) -> Params:
    return lay_over(Layer("params.yaml", sections))


def refused(**sections: Any) -> str:
    """Return the sentence with which params are refused."""
    with pytest.raises(InputError) as error:
        laid(**sections)
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("head", [head for head in HEADS if head != "AutoModel"])
def test_the_types_with_a_head_are_those_that_its_auto_class_builds(head: str) -> None:
    mapping = getattr(hf, head)._model_mapping._model_mapping
    assert with_head(head) == set(mapping)


@pytest.mark.parametrize(
    "kind", ["bert", "gpt2", "llama", "t5", "bart", "distilbert", "electra", "xlnet", "canine", "modernbert"]
)
def test_sizes_are_fields_of_the_config_with_values_that_it_takes(kind: str) -> None:
    config = hf.AutoConfig.for_model(kind)
    assert {"hidden_size", "num_hidden_layers"} & sizes(kind).keys()
    for name in sizes(kind):
        assert hasattr(config, name), name
        laid(
            model={"name": None, "from_scratch": {"type": kind, name: getattr(config, name)}},
            tokenize={"train": fitting(kind)},
        )


def fitting(kind: str) -> dict[str, Any]:
    return {"kind": "code_point" if kind == "canine" else "bpe"}


def test_every_type_for_texts_has_sizes_but_those_that_are_two_models() -> None:
    two = {"encoder-decoder", "nemo_speechlm", "speech-encoder-decoder"}
    assert {kind for kind in types() if not sizes(kind)} <= two


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"type": "brt"}, "there is no model type 'brt'; did you mean 'bert'? Known: "),
        ({"hidden_size": 32}, "type is missing, such as bert. Known: "),
        (
            {"type": "bert", "hiden_size": 32},
            "a bert has no size 'hiden_size'; did you mean 'hidden_size'? It has ",
        ),
        ({"type": "gpt2", "n_layer": "two"}, "n_layer 'two' is not allowed; it takes int"),
        ({"type": "gpt2", "n_layer": 2.5}, "n_layer 2.5 is not allowed; it takes int"),
        ({"type": "gpt2", "n_layer": -1}, "n_layer -1 is not allowed"),
        ({"type": "bert", "vocab_size": 99}, "vocab_size is decided by the tokenizer and the problem"),
        ({"type": "bert", "pad_token_id": 1}, "pad_token_id is decided by the tokenizer"),
        ({"type": "sam"}, "there is no model type 'sam'"),
        (
            {"type": "resnet", "depths": [1, -1]},
            "depths [1, -1] is not allowed; it takes None or list of int",
        ),
    ],
)
def test_an_unknown_type_or_size_is_refused_with_what_there_is(given: dict[str, Any], said: str) -> None:
    assert f"params.yaml: model.from_scratch: {said}" in refused(model={"from_scratch": given})


def test_sizes_typed_as_words_are_numbers() -> None:
    params = laid(model={"from_scratch": {"type": "gpt2", "n_layer": "2", "scale_attn_weights": "false"}})
    assert params.model.from_scratch == {"type": "gpt2", "n_layer": 2, "scale_attn_weights": False}


@pytest.mark.parametrize(
    ("sections", "said"),
    [
        ({"model": {"name": None}}, "model.name is none and model.from_scratch is empty"),
        ({"tokenize": {"train": {"kind": "bpe"}}}, "has never seen; give model.from_scratch too"),
        ({"model": {"name": None, "from_scratch": BERT}}, "model.from_scratch needs a tokenizer"),
        (
            {"model": {"from_scratch": BERT}, "tokenize": {"train": {"kind": "code_point"}}},
            "does not fit a bert",
        ),
        (
            {"model": {"from_scratch": {"type": "canine"}}, "tokenize": {"train": {"kind": "bpe"}}},
            "canine reads code_point",
        ),
        (
            {"tokenize": {"train": {"kind": "bpe", "vocab_size": 200}}},
            "vocab_size 200 has no room for bpe's 256 bytes",
        ),
        ({"tokenize": {"train": {"kind": "byte", "lowercase": True}}}, "lowercase is not for byte"),
        ({"tokenize": {"special_tokens": ["<a>", "<a>"]}}, "'<a>' is blank or stands there twice"),
    ],
)
def test_what_cannot_fit_together_is_refused(sections: dict[str, Any], said: str) -> None:
    assert said in refused(**sections)


def test_none_empties_from_scratch_and_the_kind_of_tokenizer() -> None:
    whole = Layer(
        "params.yaml",
        {"model": {"from_scratch": BERT}, "tokenize": {"train": {"kind": "bpe", "vocab_size": 300}}},
    )
    back = lay_over(
        whole,
        Layer("command line", {"model": {"from_scratch": "none"}, "tokenize": {"train": {"kind": "none"}}}),
    )
    assert back.model.from_scratch == {}
    assert back.tokenize.train.kind is None
    assert back.tokenize.train.vocab_size == 300


def test_another_type_has_none_of_the_sizes_of_the_one_before() -> None:
    whole = Layer("params.yaml", {"model": {"from_scratch": BERT}})
    other = lay_over(
        whole, Layer("command line", {"model": {"from_scratch": {"type": "gpt2", "n_layer": 2}}})
    )
    assert other.model.from_scratch == {"type": "gpt2", "n_layer": 2}
    more = lay_over(whole, Layer("command line", {"model": {"from_scratch": {"num_hidden_layers": 2}}}))
    assert more.model.from_scratch == {**BERT, "num_hidden_layers": 2}
