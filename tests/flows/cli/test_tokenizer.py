"""`retrain tokenizer`: tokens, ids, offsets and what the tokenizer is, before a run and after one."""

import json
import sys

import pytest

from tests.support.project import Project

TEXT = "Where is my order?"


@pytest.mark.slow
def test_it_shows_the_runs_tokenizer_and_before_any_the_base_models(trained: Project) -> None:
    shown = json.loads(trained.retrain(TEXT, "--json", command="tokenizer").stdout)
    assert shown["tokenizer"] == "the run's"
    assert shown["class"] == "BertTokenizer"
    assert shown["special_tokens"]["cls_token"] == {"token": "[CLS]", "id": 2}
    (text,) = shown["texts"]
    tokens = text["tokens"]
    assert [token["token"] for token in tokens if token["special"]] == ["[CLS]", "[SEP]"]
    assert "".join(TEXT[token["start"] : token["end"]] for token in tokens) == TEXT.replace(" ", "")
    assert shown["unknown_share"] == 0
    of_base = json.loads(trained.retrain(TEXT, "--json", "--base", command="tokenizer").stdout)
    assert of_base["tokenizer"].endswith("'s")
    assert of_base["texts"] == shown["texts"]
    of_rows = trained.retrain(command="tokenizer").stdout
    assert "tokens each, 0.0% of them unknown" in of_rows
    trained.run("rm", "-r", "data/tokens")
    assert json.loads(trained.retrain(TEXT, "--json", command="tokenizer").stdout)["texts"] == shown["texts"]


@pytest.mark.slow
def test_it_imports_no_torch(trained: Project) -> None:
    code = (
        "import sys; from flows.cli.tokenizer import tokenizer; tokenizer('a'); "
        "print([name for name in sys.modules if name.partition('.')[0] == 'torch' and sys.modules[name] is not None])"
    )
    assert trained.run(sys.executable, "-c", code).stdout.splitlines()[-1] == "[]"


def test_one_that_is_to_be_learned_is_not_there_yet(project: Project) -> None:
    words = ("--model.from-scratch.type", "bert", "--tokenize.train.kind", "bpe")
    refused = project.retrain(TEXT, *words, command="tokenizer", status=2)
    assert "is learned by the run; `retrain run` first" in refused.stderr
