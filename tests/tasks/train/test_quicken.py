"""What reaches into a model does so in trainings that it was tested with, and changes none; in no other."""

import copy
from collections.abc import Callable
from contextlib import chdir
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers as hf
from datasets import Dataset
from tokenizers import Tokenizer, models
from torch import nn
from torch.nn.utils import parametrizations

from tasks.shared.params import Params
from tasks.shared.paths import Paths
from tasks.train.cpu import quicken
from tasks.train.cpu.dropout import QuickDropout
from tasks.train.cpu.embeddings import NarrowEmbedding
from tasks.train.cpu.first_token import _first
from tasks.train.cpu.projections import Joint
from tasks.train.cpu.tested import MODELS, why_not
from tasks.train.resume import resume_folder
from tests.support import families
from tests.support.tiny import NO_DROPOUT, SIZES
from tests.support.way import way

PADDING = 1
IDS = [[2, 7, 3, 7, 9, 4], [5, 6, 8], [2, 9, 4, 4], [3, 3, 7]]
OCCUR = sorted({0, PADDING}.union(*IDS))
NEVER = sorted(set(range(SIZES["vocab_size"])) - set(OCCUR))
DISTIL = {"dim": 16, "n_layers": 2, "n_heads": 2, "hidden_dim": 32}
DISTIL |= {"dropout": 0, "attention_dropout": 0, "seq_classif_dropout": 0}
HALVES = {f"{half}_{what}": 1 for half in ("encoder", "decoder") for what in ("layers", "attention_heads")}
LISTED = {
    "bert": {},
    "distilbert": DISTIL,
    "electra": {"embedding_size": 8},
    "roberta": {},
    "xlm-roberta": {},
}
UNLISTED = {
    "albert": {},
    "bart": HALVES,
    "camembert": {},
    "canine": {"num_hash_buckets": 64, "num_hash_functions": 2},
    "deberta-v2": {},
    "gpt2": {"n_embd": 16, "n_layer": 1, "n_head": 2},
    "llama": {},
    "longformer": {"attention_window": [2, 2]},
    "t5": {"d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 1, "decoder_start_token_id": 1},
    "xlnet": {"d_model": 16, "n_layer": 1, "n_head": 2, "d_inner": 32},
}


def config(kind: str = "bert", **more: Any) -> hf.PreTrainedConfig:
    return hf.AutoConfig.for_model(kind, **{**SIZES, **NO_DROPOUT, "pad_token_id": PADDING, **more})


def classifier(kind: str = "bert", **more: Any) -> hf.PreTrainedModel:
    torch.manual_seed(0)
    made: hf.PreTrainedModel = hf.AutoModelForSequenceClassification.from_config(config(kind, **more))
    return made


def tokenizer() -> hf.PreTrainedTokenizerFast:
    special = {"unk_token": "word0", "pad_token": f"word{PADDING}"}
    words = Tokenizer(models.WordLevel({f"word{number}": number for number in range(50)}))
    return hf.PreTrainedTokenizerFast(tokenizer_object=words, **special)


def trainer(model: hf.PreTrainedModel, folder: Path, labels: Any = (0, 1, 0, 1), **more: Any) -> hf.Trainer:
    """Return a Trainer of four rows for three steps; epsilon keeps Adam from steps of rounding."""
    settings = {"per_device_train_batch_size": 2, "max_steps": 3, "learning_rate": 0.05, "adam_epsilon": 1e-3}
    arguments = hf.TrainingArguments(
        output_dir=str(folder),
        use_cpu=True,
        report_to="none",
        disable_tqdm=True,
        save_strategy="no",
        **{**settings, **more},
    )
    rows = Dataset.from_dict({"input_ids": IDS, "labels": list(labels)})
    collator = hf.DataCollatorWithPadding(tokenizer())
    return hf.Trainer(model=model, args=arguments, train_dataset=rows, data_collator=collator)


def reached(model: nn.Module) -> set[str]:
    """Return the kinds of change from inside that a model has had."""
    modules = list(model.modules())
    kinds = {type(module).__name__ for module in modules} & {NarrowEmbedding.__name__, Joint.__name__}
    hooks = [hook for module in modules for hook in module._forward_pre_hooks.values()]
    return kinds | ({"first token"} if _first in hooks else set())


def assert_left_alone(made: hf.Trainer, why: str) -> None:
    """Assert that a training gets no shortcut, for a reason that says `why`."""
    assert why in why_not(made)
    before = {name: type(module) for name, module in made.model.named_modules()}
    quicken(made)
    assert not reached(made.model)
    for name, module in made.model.named_modules():
        assert type(module) is before[name] or (before[name], type(module)) == (nn.Dropout, QuickDropout)


# the trainings that are listed


def test_the_list_is_what_is_tested_here() -> None:
    assert {type(classifier(kind, **more)).__name__ for kind, more in LISTED.items()} == MODELS


@pytest.mark.parametrize(
    ("problem", "labels", "zero_head"),
    [
        ("single_label_classification", [0, 1, 2, 1], False),
        ("single_label_classification", [0, 1, 2, 1], True),
        ("multi_label_classification", np.eye(4, 3, dtype=np.float32), False),
        ("regression", [0.5, -1.0, 2.0, 0.25], False),
    ],
    ids=["one label", "a head that starts at zero", "several labels", "a number"],
)
@pytest.mark.parametrize(
    "kind",
    ["bert", *(pytest.param(kind, marks=pytest.mark.slow) for kind in sorted(LISTED) if kind != "bert")],
)
def test_a_listed_model_is_trained_as_without(
    tmp_path: Path,
    kind: str,
    problem: str,
    labels: Any,
    *,
    zero_head: bool,
) -> None:
    settings = {**LISTED[kind], "num_labels": 1 if problem == "regression" else 3, "problem_type": problem}
    plain, quick = (classifier(kind, **settings) for _ in range(2))
    trained = []
    for model in (plain, quick):
        if zero_head:
            *_, head = (module for module in model.modules() if type(module) is nn.Linear)
            nn.init.zeros_(head.weight)
        made = trainer(model, tmp_path, labels, weight_decay=0.1, max_grad_norm=0.5)
        if model is quick:
            quicken(made)
        made.train()
        trained.append(model.state_dict())
    expected, found = trained
    assert reached(quick) >= {"NarrowEmbedding", "Joint"}
    assert ("first token" in reached(quick)) is (kind != "distilbert")
    assert list(found) == list(expected)
    before = classifier(kind, **settings).state_dict()
    for name, values in expected.items():
        if name.endswith("word_embeddings.weight"):
            assert torch.equal(found[name][NEVER], before[name][NEVER])
            # which decay alone shrinks
            torch.testing.assert_close(values[NEVER], before[name][NEVER], rtol=0.05, atol=0)
            torch.testing.assert_close(found[name][OCCUR], values[OCCUR], msg=name)
            assert not torch.equal(values[OCCUR], before[name][OCCUR])
        else:
            torch.testing.assert_close(found[name], values, msg=name)


@pytest.mark.parametrize("kind", sorted(LISTED))
def test_a_listed_model_answers_the_same_and_draws_no_random_number(tmp_path: Path, kind: str) -> None:
    made = trainer(classifier(kind, **LISTED[kind]), tmp_path)
    given = made.data_collator([{"input_ids": row} for row in IDS])
    expected = made.model.eval()(**given).logits
    state = torch.get_rng_state()
    quicken(made)
    assert torch.equal(torch.get_rng_state(), state)
    torch.testing.assert_close(made.model.eval()(**given).logits, expected)


def test_the_other_optimizer_and_bf16_are_listed_too(tmp_path: Path) -> None:
    assert why_not(trainer(classifier(), tmp_path, optim="adamw_torch", bf16=True)) == ""


# one exclusion each


@pytest.mark.parametrize("kind", sorted(UNLISTED))
def test_another_family_is_left_as_it_is(tmp_path: Path, kind: str) -> None:
    made = trainer(classifier(kind, **UNLISTED[kind]), tmp_path)
    assert_left_alone(made, f"and this is a {type(made.model).__name__}")


@pytest.mark.parametrize(
    "kind",
    [
        "albert",
        *(
            pytest.param(kind, marks=pytest.mark.slow)
            for kind in ("camembert", "deberta-v2", "gpt2", "llama")
        ),
    ],
)
def test_another_family_without_dropout_is_trained_to_the_same_bits(tmp_path: Path, kind: str) -> None:
    plain, quick = (trainer(classifier(kind, **UNLISTED[kind]), tmp_path) for _ in range(2))
    for made in (plain, quick):
        for module in made.model.modules():
            if isinstance(module, nn.Dropout):
                module.p = 0.0
    quicken(quick)
    for made in (plain, quick):
        made.train()
    torch.testing.assert_close(quick.model.state_dict(), plain.model.state_dict(), rtol=0, atol=0)


OTHER_HEADS = [
    hf.BertForMaskedLM,
    hf.BertForMultipleChoice,
    hf.BertForNextSentencePrediction,
    hf.BertForQuestionAnswering,
    hf.BertForTokenClassification,
    hf.ElectraForPreTraining,
    hf.RobertaForTokenClassification,
]


@pytest.mark.parametrize("kind", OTHER_HEADS)
def test_another_head_is_left_as_it_is(tmp_path: Path, kind: Any) -> None:
    made = trainer(kind(kind.config_class(**SIZES, pad_token_id=PADDING)), tmp_path)
    assert_left_alone(made, f"and this is a {kind.__name__}")


def test_a_class_of_ones_own_is_left_as_it_is_even_under_the_same_name(tmp_path: Path) -> None:
    own = type("BertForSequenceClassification", (hf.BertForSequenceClassification,), {})
    assert_left_alone(trainer(own(config()), tmp_path), "and this is a BertForSequenceClassification")


@pytest.mark.parametrize("tied", [True, False])
def test_tied_and_untied_output_embeddings_are_left_as_they_are(tmp_path: Path, *, tied: bool) -> None:
    model = hf.BertForMaskedLM(config(tie_word_embeddings=tied, is_decoder=False))
    assert (model.get_output_embeddings().weight is model.get_input_embeddings().weight) is tied
    assert_left_alone(trainer(model, tmp_path), "and this is a BertForMaskedLM")


def test_a_head_that_shares_its_weight_with_the_embedding_is_left_as_it_is(tmp_path: Path) -> None:
    model = classifier(num_labels=SIZES["vocab_size"])
    model.classifier.weight = model.get_input_embeddings().weight
    assert_left_alone(trainer(model, tmp_path), "classifier.weight is not as transformers builds it")


def test_labels_that_are_token_ids_train_although_no_row_holds_them(tmp_path: Path) -> None:
    model = hf.BartForConditionalGeneration(config("bart", d_model=16, decoder_start_token_id=2, **HALVES))
    made = trainer(model, tmp_path, labels=[NEVER[:3]] * 4)
    assert_left_alone(made, "and this is a BartForConditionalGeneration")
    before = model.get_input_embeddings().weight[NEVER[0]].clone()
    made.train()
    assert not torch.equal(model.get_input_embeddings().weight[NEVER[0]], before)


class Reads(nn.Module):
    """A pooler that reads more than the first token."""

    def __init__(self, read: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.read = read

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """Read (batch, length, d)."""
        return self.read(hidden)


def _frozen(part: str) -> Callable[[hf.PreTrainedModel], None]:
    return lambda model: model.get_submodule(part).requires_grad_(False)


def _reads_the_mean(model: hf.PreTrainedModel) -> None:
    model.bert.pooler = Reads(lambda hidden: hidden.mean(1))


def _zero_head_that_reads_the_mean(model: hf.PreTrainedModel) -> None:
    _reads_the_mean(model)
    nn.init.zeros_(model.classifier.weight)


def _answers_that_broadcast(model: hf.PreTrainedModel) -> None:
    model.bert.pooler = Reads(lambda hidden: hidden[:, :1])


class LowRank(nn.Module):
    """A linear layer with an update of rank 1, as LoRA wraps one."""

    def __init__(self, layer: nn.Linear, *, frozen: bool) -> None:
        super().__init__()
        self.base_layer = layer.requires_grad_(not frozen)
        self.down, self.up = nn.Linear(layer.in_features, 1), nn.Linear(1, layer.out_features)

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        """Project (..., in_features) to (..., out_features)."""
        return self.base_layer(states) + self.up(self.down(states))


def _wrapped(part: str, *, frozen: bool) -> Callable[[hf.PreTrainedModel], None]:
    return lambda model: model.set_submodule(part, LowRank(model.get_submodule(part), frozen=frozen))


def _normed(model: hf.PreTrainedModel) -> None:
    parametrizations.weight_norm(model.classifier)


def _table_of_another_kind(model: hf.PreTrainedModel) -> None:
    model.get_input_embeddings().max_norm = 1.0


def _hook_on_states(model: hf.PreTrainedModel) -> None:
    model.bert.encoder.register_forward_hook(lambda *_: None)


def _hook_on_gradients(model: hf.PreTrainedModel) -> None:
    model.get_input_embeddings().weight.register_hook(lambda gradient: gradient)


def _forward_of_its_own(model: hf.PreTrainedModel) -> None:
    model.classifier.forward = lambda states: states[..., :2]


def _layer_more(model: hf.PreTrainedModel) -> None:
    model.bert.encoder.layer.append(copy.deepcopy(model.bert.encoder.layer[0]))


QUERY = "bert.encoder.layer.1.attention.self.query"
CHANGED: list[tuple[Callable[[hf.PreTrainedModel], Any], str]] = [
    (_frozen("bert.embeddings.word_embeddings"), "bert.embeddings.word_embeddings.weight is frozen"),
    (_frozen("bert"), "bert.embeddings.word_embeddings.weight is frozen"),
    (_frozen("bert.encoder.layer.0"), "bert.encoder.layer.0.attention.self.query.weight is frozen"),
    (_frozen("classifier"), "classifier.weight is frozen"),
    (_reads_the_mean, "bert.pooler is not"),
    (_zero_head_that_reads_the_mean, "bert.pooler is not"),
    (_answers_that_broadcast, "bert.pooler is not"),
    (_wrapped(QUERY, frozen=True), f"{QUERY}.base_layer.weight is frozen"),
    (_wrapped(QUERY, frozen=False), f"{QUERY} is not"),
    (_wrapped("bert.encoder.layer.1.output.dense", frozen=False), "bert.encoder.layer.1.output.dense is not"),
    (_normed, "classifier is not"),
    (_table_of_another_kind, "bert.embeddings.word_embeddings is not"),
    (_hook_on_states, "bert.encoder is not"),
    (_hook_on_gradients, "bert.embeddings.word_embeddings.weight is not"),
    (_forward_of_its_own, "classifier is not"),
    (_layer_more, "bert.encoder.layer.2 is not"),
    (lambda model: model.classifier.to("meta"), "classifier.weight is torch.float32 on meta"),
    (lambda model: model.to(torch.bfloat16), "is torch.bfloat16 on cpu"),
]


@pytest.mark.parametrize(("change", "why"), CHANGED, ids=lambda part: part if isinstance(part, str) else "")
def test_a_model_that_was_changed_is_left_as_it_is(
    tmp_path: Path,
    change: Callable[[hf.PreTrainedModel], Any],
    why: str,
) -> None:
    made = trainer(classifier(), tmp_path)
    change(made.model)
    expected = [weight.requires_grad for weight in made.model.parameters()]
    assert_left_alone(made, why)
    assert [weight.requires_grad for weight in made.model.parameters()] == expected


@pytest.mark.parametrize(
    "settings",
    [
        {"is_decoder": True},
        {"is_decoder": True, "add_cross_attention": True},
        {"chunk_size_feed_forward": 1},
        {"output_hidden_states": True},
        {"attn_implementation": "eager"},
    ],
)
def test_a_config_that_asks_for_more_is_left_as_it_is(tmp_path: Path, settings: dict[str, Any]) -> None:
    made = trainer(classifier(**settings), tmp_path)
    assert_left_alone(made, f"{[*settings][-1].replace('attn', '_attn')} ")


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put back the variables that TrainingArguments set for torch.compile."""
    for name in ("ACCELERATE_DYNAMO_BACKEND", "ACCELERATE_DYNAMO_MODE"):
        monkeypatch.setenv(name, "no" if name.endswith("BACKEND") else "default")


@pytest.mark.usefixtures("environment")
@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"activation_checkpointing": True}, "activation_checkpointing False, and it is True"),
        ({"gradient_checkpointing": True}, "activation_checkpointing False, and it is True"),
        ({"torch_compile": True}, "torch_compile False, and it is True"),
        ({"torch_compile_mode": "reduce-overhead"}, "torch_compile False, and it is True"),
        ({"neftune_noise_alpha": 5}, "neftune_noise_alpha None, and it is 5"),
        ({"debug": "underflow_overflow"}, "debug"),
        ({"optim": "adafactor"}, "optim adamw_torch or adamw_torch_fused, and it is adafactor"),
        ({"optim": "sgd"}, "optim adamw_torch or adamw_torch_fused, and it is sgd"),
    ],
)
def test_arguments_that_reach_into_the_model_are_left_to_transformers(
    tmp_path: Path,
    settings: dict[str, Any],
    why: str,
) -> None:
    assert_left_alone(trainer(classifier(), tmp_path, **settings), why)


def test_batches_that_are_made_otherwise_are_left_to_transformers(tmp_path: Path) -> None:
    made = trainer(classifier(), tmp_path)
    made.data_collator = hf.default_data_collator
    assert_left_alone(made, "batches of DataCollatorWithPadding, and these are of function")


@pytest.mark.parametrize(
    "rows",
    [
        [{"input_ids": row, "labels": 0} for row in IDS],
        Dataset.from_dict({"input_ids": IDS, "labels": [0] * 4}).with_transform(lambda batch: batch),
        Dataset.from_dict({"inputs_embeds": IDS, "labels": [0] * 4}),
    ],
    ids=["a list", "changed on the way", "without ids"],
)
def test_rows_that_do_not_stand_in_a_table_are_left_to_transformers(tmp_path: Path, rows: Any) -> None:
    made = trainer(classifier(), tmp_path)
    made.train_dataset = rows
    assert_left_alone(made, "its rows are no table with input_ids")


# the stage


@pytest.mark.slow
def test_the_switch_decides_and_a_model_that_is_left_alone_is_said(
    tmp_path: Path,
    tiny_model: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    before = hf.AutoModel.from_pretrained(tiny_model).get_input_embeddings().weight
    kept = {}
    for shortcuts in ("auto", "off"):
        train = {"max_steps": 2, "weight_decay": 0.5, "cpu_shortcuts": shortcuts}
        made = way(tmp_path / shortcuts, tiny_model, train=train)
        made.tokenize()
        made.train()
        after = hf.AutoModel.from_pretrained(made.paths.checkpoint).get_input_embeddings().weight
        # the row of the padding is zero and stays so
        kept[shortcuts] = {row for row in range(1, len(after)) if torch.equal(after[row], before[row])}
    ids = Dataset.from_file(str(made.paths.tokens / "train.arrow"))["input_ids"]
    special = hf.AutoTokenizer.from_pretrained(tiny_model).all_special_ids
    assert kept["auto"] == set(range(1, len(before))) - set().union(*ids) - set(special)
    assert kept["off"] == set(), "decay shrinks all rows"
    assert "cpu_shortcuts" not in capsys.readouterr().out
    other = families.make(families.gpt2, tmp_path / "base", tiny_model)
    made = way(tmp_path / "gpt2", other, train={"max_steps": 1})
    made.tokenize()
    made.train()
    said = "train.cpu_shortcuts are left out: they were tested with BertForSequenceClassification, "
    assert said in capsys.readouterr().out


def test_an_interrupted_training_does_not_go_on_under_another_switch(tmp_path: Path) -> None:
    (tmp_path / "pins.yaml").write_text("{}")
    paths = Paths(tmp_path)
    for folder in (paths.tokens, paths.splits):
        folder.mkdir(parents=True)
    paths.split("validation").touch()
    found = set()
    for shortcuts in ("auto", "off"):
        params = Params.model_validate({"train": {"cpu_shortcuts": shortcuts}})
        with chdir(tmp_path), resume_folder(params, paths, 1) as folder:
            found.add(folder)
    assert len(found) == 2
