"""Trials that took no time, as Git keeps them."""

import json
from pathlib import Path
from typing import Any

from flows.git.commands import git

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
