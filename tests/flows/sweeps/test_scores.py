"""What a trial has scored on validation, read from the commit that keeps it, also one that another machine has sent."""

import json
from pathlib import Path
from typing import Any

import pytest

from flows.git.commands import git
from flows.sweeps.scores import scored
from tasks.shared.errors import InputError
from tests.support.project import environment
from tests.support.registry import repository, shared

LOCK = """
schema: '2.0'
stages:
  split:
    cmd: exec python -m tasks.split
    deps:
    - path: tasks/split
      md5: 3f1a4a7d8b0c4b0e9a1d2c3b4a5f6e7d.dir
    outs:
    - path: data/splits
      md5: {rows}.dir
  train:
    cmd: exec python -m tasks.train
    params:
      params.yaml:
        problem: text_classification
        train:
          learning_rate: {rate}
          max_steps: {steps}
    outs:
    - path: models/checkpoint
      md5: 4f1a4a7d8b0c4b0e9a1d2c3b4a5f6e7d.dir
"""
ROWS = "5f1a4a7d8b0c4b0e9a1d2c3b4a5f6e7d"
HEADLINE = {"name": "macro_f1", "higher_is_better": True}


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, value in environment(tmp_path).items():
        monkeypatch.setenv(name, value)
    return repository(tmp_path / "checkout")


def kept(
    checkout: Path, name: str, validation: Any, rate: float = 1e-4, steps: int = -1, rows: str = ROWS
) -> None:
    """Keep a run as an experiment."""
    (checkout / "metrics").mkdir(exist_ok=True)
    (checkout / "dvc.lock").write_text(LOCK.format(rate=rate, steps=steps, rows=rows))
    (checkout / "metrics/train.json").write_text(json.dumps({"validation": validation}))
    (checkout / "metrics/evaluate.json").write_text(json.dumps({"headline": HEADLINE, "macro_f1": 0.1}))
    git(checkout, "add", "-A")
    tree = git(checkout, "write-tree")
    commit = git(checkout, "commit-tree", tree, "-p", "HEAD", "-m", name)
    baseline = git(checkout, "rev-parse", "HEAD")
    git(checkout, "update-ref", f"refs/exps/{baseline[:2]}/{baseline[2:]}/{name}", commit)
    git(checkout, "reset", "-q", "--hard")


def test_the_headline_on_validation_is_the_score_and_the_loss_where_there_is_none(checkout: Path) -> None:
    kept(checkout, "first", {"loss": 0.7, "macro_f1": 0.8})
    kept(checkout, "loss", {"loss": 0.7})
    kept(checkout, "undefined", {"loss": 0.7, "macro_f1": None})
    first = scored(checkout, "first", ["train.learning_rate"])
    assert (first.metric, first.score, first.higher_is_better) == ("macro_f1", 0.8, True)
    loss = scored(checkout, "loss", ["train.learning_rate"])
    assert (loss.metric, loss.score, loss.higher_is_better) == ("loss", 0.7, False)
    assert scored(checkout, "undefined", ["train.learning_rate"]).score is None


def test_trials_have_all_in_common_but_what_is_searched(checkout: Path) -> None:
    kept(checkout, "first", {"macro_f1": 0.8})
    kept(checkout, "other", {"macro_f1": 0.9}, rate=3e-4)
    kept(checkout, "steps", {"macro_f1": 0.9}, steps=7)
    kept(checkout, "rows", {"macro_f1": 0.9}, rows=f"6{ROWS[1:]}")
    held = {
        name: scored(checkout, name, ["train.learning_rate"]).held
        for name in ("first", "other", "steps", "rows")
    }
    assert held["first"] == held["other"]
    assert held["first"] != held["steps"]
    assert held["first"] != held["rows"]


def test_an_experiment_that_another_machine_has_sent_is_fetched(checkout: Path, tmp_path: Path) -> None:
    elsewhere = shared(repository(tmp_path / "elsewhere"), tmp_path / "origin.git")
    kept(elsewhere, "sent", {"macro_f1": 0.8})
    git(elsewhere, "push", "-q", "origin", "refs/exps/*:refs/exps/*")
    with pytest.raises(InputError, match=r"^the experiment sent is not in this repository; "):
        scored(checkout, "sent", [])
    shared(checkout, tmp_path / "origin.git")
    assert scored(checkout, "sent", []).score == 0.8
    with pytest.raises(InputError, match=r"^the experiment another is not in this repository; "):
        scored(checkout, "another", [])
