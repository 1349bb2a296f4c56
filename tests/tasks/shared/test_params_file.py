"""params.yaml: read strictly, laid over section by section, written back with its comments."""

from pathlib import Path
from typing import Any

import pytest

from tasks.shared.errors import InputError
from tasks.shared.params import Params
from tasks.shared.params_file import (
    Layer,
    as_read,
    differences,
    in_words,
    lay_over,
    load,
    read,
    replacing,
    save,
    together,
)
from tests.support.project import ROOT

TEXT = """\
# Why these values
model:
  name: some/model  # from the hub
split:
  seed: 7
  # newest rows last
  method: stable
train:
  learning_rate: 2e-5
"""


def write(folder: Path, text: str | bytes) -> Path:
    path = folder / "params.yaml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def over(base: Params, changes: dict[str, Any]) -> Params:
    """Lay a command line over params, as `retrain run` does."""
    return lay_over(Layer("params.yaml", base.model_dump()), Layer("cli", changes))


def test_off_is_a_word_and_stays_one(tmp_path: Path) -> None:
    path = write(tmp_path, "train:\n  cpu_shortcuts: off\n")
    assert load(path).train.cpu_shortcuts == "off"
    assert save(over(load(path), {"train": {"seed": 1}}), path)
    assert "  cpu_shortcuts: off\n" in path.read_text()
    assert load(path).train.cpu_shortcuts == "off"
    with pytest.raises(
        InputError, match=r"train.cpu_shortcuts: False is not allowed: input should be 'auto' or 'off'"
    ):
        over(Params(), {"train": {"cpu_shortcuts": False}})


def test_what_stands_in_the_file_is_read_and_the_rest_is_default(tmp_path: Path) -> None:
    params = load(write(tmp_path, TEXT))
    assert (params.model.name, params.split.seed, params.train.learning_rate) == ("some/model", 7, 2e-5)
    assert params.evaluate == Params().evaluate


def test_the_file_is_read_as_yaml_1_2(tmp_path: Path) -> None:
    assert read(write(tmp_path, "a: 2e-5\nb: no\nc: 0o10\n")) == {"a": 2e-5, "b": "no", "c": 8}


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("train: [1, 2", "not valid YAML"),
        ("train:\n  seed: 1\n  seed: 2\n", "not valid YAML"),
        ("a: 1\n\tb: 2", "not valid YAML"),
        ("- train\n- split\n", "expected sections such as 'train:', found list"),
        ("", "expected sections such as 'train:', found NoneType"),
        (b"train:\n  seed: \xff1\n", "not UTF-8 at byte 15"),
        ("train: !!python/object/apply:os.system ['true']\n", "not valid YAML"),
        ("train:\n", "train: None is not allowed"),
        ("1: 2\n", "keys should be strings"),
    ],
)
def test_a_file_that_is_wrong_is_refused_in_a_sentence(
    tmp_path: Path, text: str | bytes, sentence: str
) -> None:
    path = write(tmp_path, text)
    with pytest.raises(InputError) as error:
        load(path)
    assert str(error.value).startswith(f"{path}: ")
    assert sentence in str(error.value)
    assert "\n" not in str(error.value)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such params file"):
        load(tmp_path / "params.yaml")


def test_only_what_is_set_is_given_under_the_fields_own_names() -> None:
    file, line = (
        Layer("file", {"train": {"epochs": 3, "lr": 1e-3}}),
        Layer("cli", {"train": {"learning_rate": "2e-3"}}),
    )
    assert together([file, line]) == {"train": {"num_train_epochs": 3, "learning_rate": "2e-3"}}
    assert lay_over(file, line).train.learning_rate == 2e-3
    assert together([]) == {}


def test_what_is_wrong_is_named_where_it_was_written() -> None:
    layers = [
        Layer("params.yaml", {"split": {"test_share": 0.6}, "train": {"seed": -1, "max_steps": -2}}),
        Layer("file", {"split": {"validation_share": 0.5}, "train": {"seed": -2}, "evaluate": {"seed": "x"}}),
        Layer("cli", {"train": {"lr": "fast"}, "package": {"name": "a"}, "split": {"seed": 3}}),
    ]
    with pytest.raises(InputError) as error:
        lay_over(*layers)
    said = {sentence.split(": ")[1]: sentence.split(": ")[0] for sentence in str(error.value).split("\n")}
    assert said == {
        "split": "file",
        "train.seed": "file",
        "train.max_steps": "params.yaml",
        "evaluate.seed": "file",
        "train.learning_rate": "cli",
    }
    mended = Layer(
        "form",
        {
            "split": {"test_share": 0.1},
            "train": {"seed": 1, "max_steps": 1, "learning_rate": 1e-3},
            "evaluate": {"seed": 2},
        },
    )
    assert lay_over(*layers, mended).train.max_steps == 1


def test_changes_are_laid_over_their_section_only(tmp_path: Path) -> None:
    base = load(write(tmp_path, TEXT))
    laid = over(base, {"split": {"test_share": 0.3}, "data": {"columns": {"text": "message"}}})
    assert laid.split == base.split.model_copy(update={"test_share": 0.3})
    assert laid.data.columns == {"text": "message"}
    assert laid.train == base.train


def test_a_value_can_be_laid_back_to_nothing() -> None:
    base = over(Params(), {"train": {"early_stopping_patience": 3}})
    assert over(base, {"train": {"early_stopping_patience": None}}) == Params()


def test_what_is_wrong_only_together_is_refused() -> None:
    base = over(Params(), {"split": {"validation_share": 0.5}})
    with pytest.raises(InputError, match=r"cli: split: .* leave nothing for train"):
        over(base, {"split": {"test_share": 0.6}})


@pytest.mark.parametrize(
    ("base", "change"),
    [
        ({"split": {"time_column": "when"}}, {"split": {"method": "by_time"}}),
        ({"split": {"validation_share": 0.02}}, {"split": {"test_share": 0.95}}),
        (
            {"data": {"train_file": "a.csv", "test_file": "b.csv"}, "split": {"method": "predefined"}},
            {"data": {"train_file": "c.csv"}},
        ),
    ],
)
def test_what_is_right_together_is_not_refused_alone(base: dict[str, Any], change: dict[str, Any]) -> None:
    (section,) = change
    laid = over(over(Params(), base), change).model_dump()[section]
    assert laid.items() >= {**base[section], **change[section]}.items()


def test_saving_keeps_comments_and_order_and_says_whether_anything_changed(tmp_path: Path) -> None:
    path = write(tmp_path, TEXT)
    params = over(load(path), {"split": {"method": "stratified"}})
    assert save(params, path)
    text = path.read_text("utf-8")
    assert text.startswith("# Why these values\nmodel:\n  name: some/model  # from the hub\n")
    assert "  # newest rows last\n  method: stratified\n" in text
    assert load(path) == params
    before = path.stat()
    assert not save(params, path)
    assert path.stat().st_mtime_ns == before.st_mtime_ns
    assert [file.name for file in tmp_path.iterdir()] == ["params.yaml"]


def test_saving_drops_entries_of_a_mapping_that_are_gone(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        "data:\n  columns:\n    text: message\n    label: intent\ntrain:\n  extra: {neftune_noise_alpha: 5}\n",
    )
    params = load(path)
    params = params.model_copy(
        update={
            "data": params.data.model_copy(update={"columns": {"text": "body"}}),
            "train": params.train.model_copy(update={"extra": {}}),
        }
    )
    assert save(params, path)
    assert load(path) == params


def test_every_value_survives_a_round_trip(tmp_path: Path) -> None:
    changes = {
        "data": {
            "path": "data/raw/a b'c\".csv",
            "columns": {"text": "no", "label": "1"},
            "encoding": "cp1252",
        },
        "train": {
            "adam_epsilon": 1e-12,
            "learning_rate": 3e-7,
            "extra": {"neftune_noise_alpha": 5.5, "eval_delay": 0},
        },
        "package": {"name": "007", "language": "no"},
    }
    params = over(Params(), changes)
    path = tmp_path / "params.yaml"
    assert save(params, path)
    assert load(path) == params


def test_dvc_reads_the_same_values_as_we_do(tmp_path: Path) -> None:
    from ruamel.yaml import YAML

    path = tmp_path / "params.yaml"
    params = over(Params(), {"train": {"adam_epsilon": 1e-12, "learning_rate": 3e-7}})
    save(params, path)
    assert YAML(typ="safe").load(path.read_text("utf-8")) == params.values()


def test_saving_what_the_repository_holds_changes_no_byte(tmp_path: Path) -> None:
    text = (ROOT / "params.yaml").read_text("utf-8")
    path = write(tmp_path, text)
    assert not save(load(path), path)
    changed = over(load(path), {"split": {"seed": 5}})
    assert save(changed, path)
    assert path.read_text("utf-8") == text.replace(
        "  test_share: 0.2\n  seed: 0", "  test_share: 0.2\n  seed: 5"
    )


def test_a_mapping_is_laid_over_entry_by_entry() -> None:
    base = over(
        Params(),
        {
            "data": {"columns": {"text": "message", "label": "intent"}},
            "train": {"extra": {"eval_delay": 0}},
        },
    )
    laid = over(base, {"data": {"columns": {"text": "body"}}, "train": {"extra": {"neftune_noise_alpha": 5}}})
    assert laid.data.columns == {"text": "body", "label": "intent"}
    assert laid.train.extra == {"eval_delay": 0, "neftune_noise_alpha": 5}


def test_none_empties_whatever_may_be_empty_and_nothing_else() -> None:
    columns = {"text": "message", "label": "intent"}
    base = over(
        Params(),
        {
            "model": {"revision": "sha256:0"},
            "data": {"columns": columns, "files": "*.csv"},
            "split": {"time_column": "when"},
            "train": {
                "early_stopping_patience": 3,
                "distributed": {"nproc_per_node": 2},
                "extra": {"neftune_noise_alpha": 5},
            },
            "package": {"license": "mit"},
        },
    )
    assert over(base, {"data": {"columns": {"label": "none"}}}).data.columns == {"text": "message"}
    emptied = over(
        base,
        {
            "model": {"revision": "none"},
            "data": {"columns": "none", "files": "none"},
            "split": {"time_column": "none"},
            "train": {
                "early_stopping_patience": "none",
                "distributed": {"nproc_per_node": "none"},
                "extra": {"neftune_noise_alpha": "none"},
            },
            "package": {"license": "none"},
        },
    )
    assert emptied == over(Params(), {"package": {"license": "none"}})
    assert over(base, {"data": {"columns": {}}}).data.columns == {}
    assert over(base, {"data": {}}) == base, "a form sends sections of which nothing was filled in"
    with pytest.raises(InputError, match=r"cli: train\.learning_rate: 'none' is not allowed"):
        over(base, {"train": {"learning_rate": "none"}})


def test_another_model_drops_the_old_ones_revision_wherever_it_is_named() -> None:
    base = over(Params(), {"model": {"name": "one", "revision": "a" * 40}})
    assert over(base, {"model": {"name": "other"}}).model.revision is None
    assert over(base, {"model": {"name": "other", "revision": "main"}}).model.revision == "main"
    assert over(base, {"model": {"name": "one"}}).model.revision == "a" * 40, (
        "the same model has the same content"
    )
    assert over(base, {"train": {"seed": 1}}).model.revision == "a" * 40


def test_differences_are_told_in_words() -> None:
    base = over(Params(), {"split": {"time_column": "when"}, "data": {"columns": {"text": "message"}}})
    changes = {
        "train": {"max_steps": 20},
        "split": {"time_column": "none"},
        "data": {"header": False, "columns": {"label": "intent"}},
    }
    differ = differences(base.model_dump(), over(base, changes).model_dump())
    assert in_words(differ) == (
        "data.header true -> false, data.columns.label none -> intent, split.time_column when -> none, train.max_steps -1 -> 20"
    )
    assert in_words(differ[:1] * 5) == "\n  data.header true -> false" * 5
    assert differences(base.model_dump(), base.model_dump()) == []


ODD_VALUES = {
    "half a character": '"\\ud800"',
    "a NUL": '"a\\0"',
    "an escape": '"\\e[2J"',
    "a name with half a character": '{"\\ud800": 1}',
    "thousands of digits": "9" * 5000,
    "thousands of hexadecimal digits": "0x" + "f" * 5000,
    "such a name": "{0x" + "f" * 5000 + ": 1}",
    "a tag that calls": "!!python/object/apply:os.system [ls]",
    "a tag that does not fit": "!!int x",
    "another": "!!float x",
    "a third": "!!bool x",
    "a list that holds itself": "&a [*a]",
    "depth": "[" * 3000,
    "an alias for nothing": "*nope",
    "an unknown tag": "!x y",
    "not a number": ".nan",
}


@pytest.mark.parametrize("case", ODD_VALUES)
@pytest.mark.parametrize(
    "name", ["problem", "train", "  learning_rate", "  extra", "  path", "  seed", "  nobody"]
)
def test_what_yaml_can_spell_and_no_param_can_be_is_a_sentence_with_the_file_and_no_more_than_a_line(
    case: str, name: str, tmp_path: Path
) -> None:
    section = {"  path": "data:\n"}.get(name, "train:\n" if name.startswith(" ") else "")
    file = tmp_path / "params.yaml"
    file.write_text(f"{section}{name}: {ODD_VALUES[case]}\n")
    with pytest.raises(InputError) as error:
        load(file)
    said = str(error.value)
    assert said.startswith(f"{file}: ")
    assert len(said) < 800
    assert said.isprintable()


@pytest.mark.parametrize(
    "value", ["\ud800", "a\0", "\x1b[2J", 1 << 20_000, {"\ud800": 1}, [["\udfff"]]], ids=range(6)
)
def test_a_form_or_a_command_line_that_sends_such_a_value_is_told_which(value: object) -> None:
    for section, name in (("data", "path"), ("data", "columns"), ("train", "extra"), ("package", "name")):
        with pytest.raises(InputError, match=rf"^form: (a name in )?{section}\.{name}"):
            lay_over(Layer("form", {section: {name: value}}))
    with pytest.raises(InputError, match=r"^form: "):
        lay_over(Layer("form", {"problem": value}))


def test_params_are_replaced_entry_by_entry_whatever_stood_there() -> None:
    recipe = {
        "problem": "text_generation",
        "data": {"columns": {"text": "message", "label": "intent"}},
        "model": {
            "name": "some/tokenizer",
            "from_scratch": {"type": "llama", "hidden_size": 64, "num_hidden_layers": 2},
        },
        "train": {"freeze": ["embeddings"], "extra": {"neftune_noise_alpha": 5}},
        "text_generation": {"generation": {"rows": 3}, "lora": {"r": 8, "target_modules": ["q_proj"]}},
    }
    others: list[dict[str, Any]] = [
        {},
        {"problem": "fill_mask", "model": {"name": "some/other", "revision": "a" * 40}},
        {"model": {"name": "some/tokenizer", "from_scratch": {"type": "llama", "num_hidden_layers": 3}}},
        {
            "model": {"name": "some/tokenizer", "from_scratch": {"type": "gpt2", "n_embd": 64}},
            "train": {"extra": {}},
        },
        {"data": {"columns": {"text": "body"}}},
    ]
    for standing, wanted in [*((recipe, other) for other in others), *((other, recipe) for other in others)]:
        there, then = Layer("params.yaml", standing), Layer("params.yaml of HEAD", wanted)
        made = lay_over(there, replacing(there, then))
        assert made.values() == lay_over(then).values()
        assert lay_over(there, replacing(there, then), Layer("cli", {"train": {"seed": 3}})).train.seed == 3


def test_what_was_one_of_the_trainers_own_arguments_is_the_param_that_it_became() -> None:
    old = Layer("params.yaml", {"train": {"extra": {"torch_compile": True, "neftune_noise_alpha": 5}}})
    assert lay_over(old).train.torch_compile
    assert lay_over(old).train.extra == {"neftune_noise_alpha": 5}
    # alone it does not empty the others
    alone = Layer("the form", {"train": {"extra": {"torch_compile": True}}})
    both = lay_over(Layer("params.yaml", {"train": {"extra": {"neftune_noise_alpha": 5}}}), alone).train
    assert (both.torch_compile, both.extra) == (True, {"neftune_noise_alpha": 5})


@pytest.mark.parametrize(("before", "now"), [(2, 2), (None, None), ("none", None)])
def test_params_of_before_say_how_many_processes_train_where_they_said_it_then(before: Any, now: Any) -> None:
    old = Layer("params.yaml", {"train": {"nproc_per_node": before, "seed": 7}})
    assert lay_over(old).train.distributed.nproc_per_node == now
    assert lay_over(replacing(Layer("now", Params().values()), old)).train.distributed.nproc_per_node == now
    given = Layer("the form", {"train": {"nproc_per_node": before, "distributed": {"strategy": "fsdp"}}})
    both = lay_over(Layer("params.yaml", Params().values()), given).train.distributed
    assert (both.strategy, both.nproc_per_node) == ("fsdp", now)


def test_what_is_typed_is_told_as_it_is_read_and_what_empties_a_param_stays_the_word() -> None:
    typed = Layer(
        "command line",
        {
            "train": {"learning_rate": "3e-3", "num_threads": "none", "extra": {"neftune_noise_alpha": "5"}},
            "data": {"delimiter": "tab", "header": "false", "columns": {"text": "message", "label": "none"}},
            # of another problem than this one's
            "automatic_speech_recognition": {"num_beams": "2"},
        },
    )
    params = lay_over(Layer("params.yaml", {"data": {"columns": {"label": "intent"}}}), typed)
    told = as_read([typed], params)
    assert told == {
        "train": {"learning_rate": 0.003, "num_threads": "none", "extra": {"neftune_noise_alpha": 5}},
        "data": {"delimiter": "\t", "header": False, "columns": {"text": "message", "label": "none"}},
        "automatic_speech_recognition": {"num_beams": 2},
    }
    standing = Layer("params.yaml", {"data": {"columns": {"label": "intent"}}, "train": {"num_threads": 2}})
    assert lay_over(standing, Layer("params", told)) == lay_over(standing, typed)
