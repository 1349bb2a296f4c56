"""How long rows are in tokens, as the tokenize stage would encode them, if the tokenizer is here already."""

import os
import sys
from pathlib import Path
from typing import Any

import polars as pl

from tasks.problems import Problem, tokenizer_of
from tasks.problems.common.counts import Counts
from tasks.shared import base_models, columns
from tasks.shared.errors import InputError
from tasks.shared.params import Params
from tasks.shared.paths import Paths

# rows of train that are encoded
ROWS = 1000


def tokens(params: Params, problem: Problem, paths: Paths) -> dict[str, Any]:
    """Return how many tokens the first train rows have and how many are cut; or `why` that is not known."""
    # nothing is fetched, and no tokenizer needs torch, which takes seconds to import
    os.environ["HF_HUB_OFFLINE"] = "1"
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    sys.modules.setdefault("torch", None)  # type: ignore[arg-type]
    if not params.own.has_tokenizer:
        return {"why": "the model reads no text"}
    if params.tokenize.train.kind:
        return {
            "why": f"a tokenizer (tokenize.train.kind {params.tokenize.train.kind}) is learned by the run"
        }
    try:
        processor = problem.processor(_folder(params), pl.LazyFrame(), params.tokenize)
        return _encoded(params, problem, processor, paths.split("train"))
    except InputError as error:
        return {"why": str(error)}
    except ImportError as error:
        return {"why": f"it cannot be told without {error.name}"}


def _folder(params: Params) -> Path:
    """Return a folder that holds the tokenizer; nothing is written or fetched for it."""
    model = params.model
    if base_models.is_warm(model.name):
        kept = base_models.warm_folder(model.revision or "")
        folder = kept if model.revision and kept.exists() else Path(base_models.PACKAGE)
        if model.name != base_models.PACKAGE and folder != kept:
            raise InputError(f"the package of {model.name} is not here yet")
        return folder
    if base_models.is_converted(model.name):
        raise InputError(f"{model.name} is in a format which the run makes a folder of first")
    plain = model.model_copy(update={"from_scratch": {}})
    return base_models.fetch(plain if plain.revision else base_models.resolve(plain))


def _encoded(params: Params, problem: Problem, processor: Any, train: Path) -> dict[str, Any]:
    rows = pl.scan_parquet(train)
    targets = problem.learn_targets(rows.select(columns.targets(problem.columns)).collect())
    first = rows.head(ROWS).collect()
    counted = Counts()
    for encoded in problem.encode(processor, first, targets, params.tokenize):
        counted.add(encoded)
    return {
        "rows": first.height,
        "inputs": counted.inputs,
        "length": counted.length(),
        "cut": counted.truncated,
        "cut_at": min(
            params.tokenize.max_length,
            getattr(tokenizer_of(processor), "model_max_length", params.tokenize.max_length),
        ),
        "unknown_share": counted.unknown_share,
    }
