"""Base models of every family go the whole way to a package that serves what was measured, or are refused in one sentence."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers as hf
from safetensors.torch import load_file, save_file

from tasks.problems.common.pretrained import try_out
from tasks.shared.errors import InputError
from tasks.train.size import refuse_too_large
from tests.support import families
from tests.support.project import ROOT
from tests.support.way import PROBLEM, Way, way

pytestmark = pytest.mark.usefixtures("forked_serving")

POSITIONS = {
    "bart": 64,
    "deberta": 66,
    "distilbert": 66,
    "electra": 66,
    "gpt2": 64,
    "llama": 66,
    "roberta": 64,
}
# what a package of BERT's kind does when it is served, other tests show
LIKE_BERT = ("deberta", "distilbert", "electra", "roberta")


def refused(made: Way, *stages: str) -> str:
    """Return the one sentence with which the last of some stages refuses."""
    for stage in stages[:-1]:
        getattr(made, stage)()
    with pytest.raises(InputError) as error:
        getattr(made, stages[-1])()
    assert "\n" not in str(error.value)
    return str(error.value)


def copy(model: Path, folder: Path) -> Path:
    return shutil.copytree(model, folder / "base")


def slow_but_gpt2(family: Callable[[Path, Path], None]) -> Any:
    """Return a family as a parameter of a test that takes long for each."""
    marks = () if family is families.gpt2 else pytest.mark.slow
    return pytest.param(family, id=family.__name__, marks=marks)


@pytest.mark.parametrize("family", [*map(slow_but_gpt2, families.FAMILIES)])
def test_it_goes_the_whole_way(
    tmp_path: Path, tiny_model: Path, family: Callable[[Path, Path], None]
) -> None:
    made = way(tmp_path / "way", families.make(family, tmp_path / "base", tiny_model))
    tokenized = made.tokenize()
    limit = POSITIONS.get(family.__name__, 128)
    assert tokenized["train"]["length"]["p100"] == limit
    assert [f"cut at {limit} tokens" in said for said in tokenized.get("warnings", [])] == (
        [True] if limit < 128 else []
    )
    made.train()
    rows = made.evaluate()["rows"]
    served = hf.AutoTokenizer.from_pretrained(made.paths.checkpoint)
    assert served.model_max_length == limit
    assert served.pad_token_id == hf.AutoConfig.from_pretrained(made.paths.checkpoint).pad_token_id
    if family.__name__ not in LIKE_BERT:
        assert made.package()["predictions_repeated"] == rows


# from scratch

# an encoder; a decoder is gpt2 above, and what is special about others is seen at length
QUICK = ("bert",)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, in which a stage keeps what it makes a base model of."""
    shutil.copy(ROOT / "pins.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def from_scratch(kind: str, **more: Any) -> dict[str, dict[str, Any]]:
    """Return the params of a tiny model of a type, with a tokenizer of its own."""
    sizes, tokenizer = families.FROM_SCRATCH[kind]
    model = {"name": None, "from_scratch": {"type": kind, **sizes, **more}}
    return {"model": model, "tokenize": {"train": {"kind": tokenizer, "vocab_size": 400}}}


@pytest.mark.parametrize(
    "kind",
    [pytest.param(kind, marks=() if kind in QUICK else pytest.mark.slow) for kind in families.FROM_SCRATCH],
)
def test_it_goes_the_whole_way_from_scratch(folder: Path, kind: str) -> None:
    made = way(folder / "way", None, **from_scratch(kind), train={"max_steps": 3})
    tokenized = made.tokenize()
    trained = made.train()
    config = hf.AutoConfig.from_pretrained(made.paths.checkpoint)
    served = hf.AutoTokenizer.from_pretrained(made.paths.checkpoint)
    assert config.model_type == kind
    assert served.pad_token_id == config.pad_token_id
    if kind != "canine":
        assert config.vocab_size == len(served) == tokenized["vocabulary"]
    assert tokenized["train"]["unknown_share"] == 0
    assert trained["parameters"] == trained["trainable_parameters"]
    rows = made.evaluate()["rows"]
    assert made.package()["predictions_repeated"] == rows
    assert f"A {kind} trained from scratch" in (made.paths.package / "README.md").read_text("utf-8")


@pytest.mark.slow
def test_the_same_seed_draws_the_same_model_and_another_seed_another(folder: Path) -> None:
    made = {}
    for name, seed in (("first", 1), ("again", 1), ("other", 2)):
        one = way(folder / name, None, **from_scratch("bert"), train={"max_steps": 1, "seed": seed})
        one.tokenize()
        one.train()
        made[name] = (one.paths.checkpoint / "model.safetensors").read_bytes()
    assert made["first"] == made["again"] != made["other"]


def test_a_model_from_scratch_may_have_the_tokenizer_of_another(folder: Path, tiny_model: Path) -> None:
    sizes = from_scratch("gpt2")["model"]["from_scratch"]
    made = way(folder / "way", tiny_model, model={"from_scratch": sizes}, train={"max_steps": 1})
    assert made.tokenize()["tokenizer"] == "BertTokenizer"
    made.train()
    assert hf.AutoConfig.from_pretrained(made.paths.checkpoint).vocab_size == len(
        hf.AutoTokenizer.from_pretrained(tiny_model)
    )


@pytest.mark.parametrize(
    ("kind", "more", "said"),
    [
        (
            "bert",
            {"num_attention_heads": 5},
            "a bert with a head for classification cannot be built of these sizes",
        ),
        ("bert", {"num_hidden_layers": 20_000}, "num_hidden_layers 20000 is far more than any model has"),
        (
            "bert",
            {"hidden_size": 400_000, "num_attention_heads": 2},
            "of memory are free; give smaller sizes",
        ),
        ("roberta", {"max_position_embeddings": 4}, "counts positions from its padding token"),
    ],
)
def test_sizes_that_cannot_be_are_refused_before_a_tokenizer_is_learned(
    folder: Path, kind: str, more: dict[str, int], said: str
) -> None:
    assert said in refused(way(folder / "way", None, **from_scratch(kind, **more)), "tokenize")


# frozen, grown, measured


def test_frozen_weights_stay_as_they_are_and_are_counted(tmp_path: Path, tiny_model: Path) -> None:
    made = way(
        tmp_path / "way",
        tiny_model,
        train={"max_steps": 3, "freeze": ["*embeddings*", "bert.encoder.layer.0"]},
    )
    made.tokenize()
    trained = made.train()
    before, after = (
        load_file(tiny_model / "model.safetensors"),
        load_file(made.paths.checkpoint / "model.safetensors"),
    )
    frozen = [name for name in after if "embeddings" in name or "layer.0." in name]
    assert frozen
    assert all(torch.equal(after[name], before[name.removeprefix("bert.")]) for name in frozen)
    assert not torch.equal(
        after["bert.encoder.layer.1.output.dense.weight"], before["encoder.layer.1.output.dense.weight"]
    )
    total, some = trained["parameters"], trained["trainable_parameters"]
    assert total - some == sum(after[name].numel() for name in frozen)
    assert trained["memory_mb"]["gradients"] == pytest.approx(some * 4 / 2**20, abs=0.1)


@pytest.mark.parametrize(
    ("patterns", "said"),
    [
        (
            ["bert.encoder.layers"],
            "no weight of this model matches 'bert.encoder.layers'; did you mean 'bert.encoder.layer'?",
        ),
        (["*"], "leave no weight to train"),
    ],
)
def test_a_pattern_that_cannot_be_is_refused(
    tmp_path: Path, tiny_model: Path, patterns: list[str], said: str
) -> None:
    assert said in refused(way(tmp_path / "way", tiny_model, train={"freeze": patterns}), "tokenize", "train")


@pytest.mark.slow
def test_the_embedding_grows_with_tokens_that_are_added(tmp_path: Path, tiny_model: Path) -> None:
    made = way(
        tmp_path / "way",
        tiny_model,
        tokenize={"special_tokens": ["<|order|>", "<|user|>"]},
        train={"max_steps": 1},
    )
    made.write_splits(["<|order|> where is it", "<|user|> hello there"] * 12, ["a", "b"] * 12)
    assert "<|order|>" in made.tokenize()["example"]["tokens"]
    rows = hf.AutoConfig.from_pretrained(tiny_model).vocab_size
    assert (
        f"the embedding grew from {rows} to {rows + 2} tokens, because the tokenizer has more"
        in made.train()["warnings"]
    )
    rows = made.evaluate()["rows"]
    assert made.package()["predictions_repeated"] == rows


def test_a_step_that_cannot_fit_is_refused_before_the_first(tmp_path: Path, tiny_model: Path) -> None:
    made = way(
        tmp_path / "way",
        tiny_model,
        train={"per_device_train_batch_size": 65536},
        tokenize={"max_length": 128},
    )
    made.tokenize()
    size = {
        "memory_mb": {
            "weights": 10.0,
            "gradients": 10.0,
            "optimizer": 20.0,
            "activations": 100.0,
            "total": 140.0,
        }
    }
    with pytest.raises(
        InputError, match=r"takes about 140 MB .* and 80 MB of memory are free; take a lower train.per_device"
    ):
        refuse_too_large(size, 80 * 2**20, made.params.train)
    refuse_too_large(size, 91 * 2**20, made.params.train)
    refuse_too_large(size, None, made.params.train)


# heads


def trained(tmp_path: Path, tiny_model: Path) -> Path:
    """Return the folder of a package for three labels."""
    made = way(tmp_path / "first", tiny_model, train={"max_steps": 2})
    made.tokenize()
    made.train()
    shutil.copytree(made.paths.checkpoint, made.paths.package)
    return made.paths.package


@pytest.mark.slow
def test_a_package_is_the_base_of_one_with_another_label_and_says_that_the_head_is_new(
    tmp_path: Path, tiny_model: Path
) -> None:
    first = trained(tmp_path, tiny_model)
    made = Way(tmp_path / "second", first, {"train": {"max_steps": 2}})
    made.write_splits([f"order {row}" for row in range(24)], list("abcd") * 6)
    made.tokenize()
    (said,) = made.train()["warnings"]
    assert said == "a new head: classifier.weight of the base model is 3 x 32, and 4 labels need 4 x 32"
    assert set(made.evaluate()["per_class"]) == set("abcd")
    again = Way(tmp_path / "third", first, {"train": {"max_steps": 2}})
    again.write_splits()
    again.tokenize()
    assert "warnings" not in again.train()
    other = Way(tmp_path / "fourth", first, {"train": {"max_steps": 2}})
    other.write_splits([f"order {row}" for row in range(24)], list("abc") * 8)
    other.tokenize()
    (said,) = other.train()["warnings"]
    assert said.startswith(
        "the head starts from the base model's, which was trained for other labels: feedback, order_"
    )


def test_a_folder_with_the_weights_of_another_model_is_refused(tmp_path: Path, tiny_model: Path) -> None:
    base = copy(tiny_model, tmp_path)
    weights = load_file(base / "model.safetensors")
    save_file(
        {f"other.{name}": values for name, values in weights.items()},
        base / "model.safetensors",
        {"format": "pt"},
    )
    assert "lacks most weights of a bert model" in refused(way(tmp_path / "way", base), "tokenize", "train")


def test_a_body_of_another_size_is_refused(tmp_path: Path, tiny_model: Path) -> None:
    base = copy(tiny_model, tmp_path)
    config = json.loads((base / "config.json").read_text("utf-8"))
    (base / "config.json").write_text(json.dumps({**config, "intermediate_size": 48}), encoding="utf-8")
    assert "is not what config.json says" in refused(way(tmp_path / "way", base), "tokenize", "train")


def test_a_few_missing_weights_are_named(tmp_path: Path, tiny_model: Path) -> None:
    base = copy(tiny_model, tmp_path)
    weights = load_file(base / "model.safetensors")
    kept = {name: values for name, values in weights.items() if "pooler" not in name}
    save_file(kept, base / "model.safetensors", {"format": "pt"})
    made = way(tmp_path / "way", base, train={"max_steps": 1})
    made.tokenize()
    (said,) = made.train()["warnings"]
    assert (
        said
        == "the base model lacks 2 weights, which start at random: bert.pooler.dense.bias, bert.pooler.dense.weight"
    )


# tokenizers


@pytest.mark.parametrize("lost", [["tokenizer.json"], ["tokenizer.json", "tokenizer_config.json"]])
def test_a_folder_without_a_vocabulary_is_refused(tmp_path: Path, tiny_model: Path, lost: list[str]) -> None:
    base = copy(tiny_model, tmp_path)
    for name in lost:
        (base / name).unlink()
    said = refused(way(tmp_path / "way", base), "tokenize")
    assert "has no vocabulary for its BertTokenizer: neither tokenizer.json nor vocab.txt" in said


def test_half_a_byte_pair_vocabulary_is_refused(tmp_path: Path, tiny_model: Path) -> None:
    base = families.make(families.gpt2, tmp_path / "base", tiny_model)
    (base / "tokenizer.json").unlink()
    shutil.copy(base / "learned/vocab.json", base / "vocab.json")
    assert "merges" in refused(way(tmp_path / "way", base), "tokenize")
    shutil.copy(base / "learned/merges.txt", base / "merges.txt")
    way(tmp_path / "way", base).tokenize()


def test_a_torn_tokenizer_is_refused(tmp_path: Path, tiny_model: Path) -> None:
    base = copy(tiny_model, tmp_path)
    (base / "tokenizer.json").write_text('{"version": "1.0", "mod', encoding="utf-8")
    assert f"the tokenizer in {base} cannot be loaded" in refused(way(tmp_path / "way", base), "tokenize")


def test_the_tokenizer_of_a_larger_vocabulary_is_refused(tmp_path: Path, tiny_model: Path) -> None:
    base = copy(tiny_model, tmp_path)
    hf.BertModel(hf.BertConfig(vocab_size=60, **families.SIZES)).save_pretrained(base)
    assert "and the model 60; they do not belong together" in refused(way(tmp_path / "way", base), "tokenize")


def test_a_padding_token_that_the_model_never_had_is_not_padded_by(tmp_path: Path, tiny_model: Path) -> None:
    base = families.make(families.gpt2, tmp_path / "base", tiny_model)
    tokenizer = hf.AutoTokenizer.from_pretrained(base)
    tokenizer.add_special_tokens({"pad_token": "[PAD]"})
    tokenizer.save_pretrained(base)
    made = way(tmp_path / "way", base, train={"max_steps": 1})
    made.tokenize()
    assert hf.AutoTokenizer.from_pretrained(made.paths.tokens / "tokenizer").pad_token_id == 0
    made.train()


def test_the_padding_token_that_only_the_config_names_is_padded_by(tmp_path: Path, tiny_model: Path) -> None:
    base = families.make(families.llama, tmp_path / "base", tiny_model)
    config = json.loads((base / "config.json").read_text("utf-8"))
    (base / "config.json").write_text(json.dumps({**config, "pad_token_id": 0}), encoding="utf-8")
    made = way(tmp_path / "way", base, train={"max_steps": 1})
    made.tokenize()
    assert hf.AutoTokenizer.from_pretrained(made.paths.tokens / "tokenizer").pad_token_id == 0
    made.train()


def test_a_tokenizer_with_nothing_to_pad_by_is_refused(tmp_path: Path, tiny_model: Path) -> None:
    base = families.make(families.gpt2, tmp_path / "base", tiny_model)
    learned = hf.AutoTokenizer.from_pretrained(base).backend_tokenizer
    hf.PreTrainedTokenizerFast(tokenizer_object=learned).save_pretrained(base)
    assert "neither a padding token nor an end token" in refused(way(tmp_path / "way", base), "tokenize")


def test_a_text_that_spells_the_end_of_a_row_is_read_letter_by_letter(
    tmp_path: Path, tiny_model: Path
) -> None:
    made = Way(tmp_path / "way", families.make(families.bart, tmp_path / "base", tiny_model), {})
    made.write_splits(["</s> is an end tag", "</s></s>"] * 4, ["a", "b"] * 4)
    assert made.tokenize()["example"]["tokens"].count("</s>") == 1


def test_a_text_that_spells_the_end_of_a_row_is_refused_where_it_cannot_be_read_otherwise(
    tmp_path: Path, tiny_model: Path
) -> None:
    made = Way(tmp_path / "way", families.make(families.t5, tmp_path / "base", tiny_model), {})
    made.write_splits(["an end tag", "</s> is one"] * 4, ["a", "b"] * 4)
    assert "the text '</s> is one' spells </s>, by which this model ends a row" in refused(made, "tokenize")


@pytest.mark.parametrize(("strange", "warned"), [(0, False), (12, True)])
def test_many_unknown_tokens_are_warned_of(
    tmp_path: Path, tiny_model: Path, strange: int, *, warned: bool
) -> None:
    made = Way(tmp_path, tiny_model, {})
    texts = [f"where is my order {row}" if row >= strange else f"\u65e5\u672c {row}" for row in range(24)]
    made.write_splits(texts, ["a", "b"] * 12)
    said = made.tokenize().get("warnings", [])
    assert [sentence.partition(" of the tokens")[0] for sentence in said] == (["16.6%"] if warned else [])


# what a model answers


@pytest.mark.parametrize("settings", [{"model_type": "no-such-model"}, {"model_type": "vit"}])
def test_a_model_that_is_none_for_texts_is_refused(
    tmp_path: Path, tiny_model: Path, settings: dict[str, Any]
) -> None:
    base = copy(tiny_model, tmp_path)
    config = json.loads((base / "config.json").read_text("utf-8"))
    (base / "config.json").write_text(json.dumps({**config, **settings}), encoding="utf-8")
    made = way(tmp_path / "way", base)
    stages = ["tokenize"] if settings["model_type"] == "no-such-model" else ["tokenize", "train"]
    assert "cannot be loaded" in refused(made, *stages)


def test_a_model_with_code_of_its_own_is_refused_without_a_question(
    tmp_path: Path, tiny_model: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    base = copy(tiny_model, tmp_path)
    config = json.loads((base / "config.json").read_text("utf-8"))
    own = {"model_type": "mine", "auto_map": {"AutoConfig": "own.Config"}}
    (base / "config.json").write_text(json.dumps({**config, **own}), encoding="utf-8")
    ran = tmp_path / "ran"
    (base / "own.py").write_text(f"from pathlib import Path\nPath({str(ran)!r}).touch()\n", encoding="utf-8")
    assert "needs code of its own, which is never run" in refused(way(tmp_path / "way", base), "tokenize")
    assert not ran.exists()
    assert capfd.readouterr().out == ""


def test_a_model_that_reads_padding_is_refused() -> None:
    class Mean(torch.nn.Module):
        def forward(self, hidden: torch.Tensor) -> torch.Tensor:
            return hidden.mean(1)

    torch.manual_seed(0)
    model = hf.BertForSequenceClassification(hf.BertConfig(vocab_size=50, **families.SIZES)).train()
    rows = [{"input_ids": [1, 2, 3]}, {"input_ids": [1, 2, 3, 4, 5, 6]}]

    def collate(some: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        longest = max(len(row["input_ids"]) for row in some)
        ids = torch.tensor([row["input_ids"] + [0] * (longest - len(row["input_ids"])) for row in some])
        return {"input_ids": ids, "attention_mask": (ids > 0).long()}

    state = torch.get_rng_state()
    try_out(model, PROBLEM.probe, collate, rows)
    assert model.training
    assert torch.equal(torch.get_rng_state(), state), "the head and dropout would be drawn otherwise"
    model.bert.pooler = Mean()
    with pytest.raises(InputError, match="answers a padded row otherwise than the row alone"):
        try_out(model, PROBLEM.probe, collate, rows)
