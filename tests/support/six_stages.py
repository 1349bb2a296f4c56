"""All six stages of some rows, in this process, for problems whose own params are what is tried."""

import json
from pathlib import Path
from typing import Any

from tasks import problems
from tasks.evaluate import evaluate
from tasks.ingest import ingest
from tasks.package import package
from tasks.problems import Problem
from tasks.shared import base_models
from tasks.shared.params import Model, Params
from tasks.shared.paths import Paths
from tasks.split import split
from tasks.tokenize import tokenize
from tasks.train import train

SMALL: dict[str, dict[str, Any]] = {
    "split": {"validation_share": 0.3, "test_share": 0.3},
    "train": {"num_train_epochs": 1.0, "per_device_train_batch_size": 8},
    "evaluate": {"n_resamples": 100},
}


def through(
    folder: Path, base: Path | dict[str, Any], rows: list[dict[str, Any]], **given: Any
) -> tuple[Problem, Paths]:
    """Take rows through all stages; `given` are params by their sections.

    base: a base model's folder, or what the section `model` says. Files that rows name lie in `folder`.
    """
    file = folder / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    said = base if isinstance(base, dict) else {"name": str(base)}
    model = base_models.resolve(Model(**said)).model_dump()
    together = {name: {**SMALL.get(name, {}), **given.get(name, {})} for name in SMALL}
    data = {"path": str(folder), "files": file.name, **given.get("data", {})}
    params = Params.model_validate({**given, **together, "model": model, "data": data})
    problem, paths = problems.load(params.problem, params.own), Paths(folder)
    ingest(params.data, params.ingest, problem, paths)
    split(params.split, problem.columns, paths)
    tokenize(params.tokenize, params.model, problem, paths)
    train(params.train, base_models.fetch(params.model), problem, paths, folder / "resume")
    evaluate(params.evaluate, problem, paths)
    package(params, problem, paths)
    return problem, paths
