"""`retrain tokenizer`."""

import json
import os
import sys
from collections.abc import Sequence
from contextlib import chdir
from itertools import chain
from pathlib import Path
from typing import Any

from flows.cli.common import OK, AsJson, Flag, FromRevision, ParamsFile, TypedParams, given, say
from tasks import problems
from tasks.problems import tokenizer_of
from tasks.shared import base_models
from tasks.shared.columns import inputs
from tasks.shared.errors import InputError, readable
from tasks.shared.params import Params
from tasks.shared.params_file import PARAMS, lay_over, written_in
from tasks.shared.paths import Paths

# rows of train that are read where no text is given
ROWS = 1000


def tokenizer(
    *texts: str,
    base: Flag = False,
    from_revision: FromRevision = None,
    params_file: ParamsFile = None,
    as_json: AsJson = False,
    params: TypedParams = None,
) -> int:
    """Show what the tokenizer makes of texts: tokens, their ids, and where each stands in the text.

    And what it is: its class, its vocabulary, its special tokens, and which share of tokens it does not know.
    It is that of the last run in this checkout, or before any run that of the base model. Without a text the
    first 1,000 rows of train are read.

    Examples: `retrain tokenizer "Where is my order?"`,
    `retrain tokenizer --model.name distilbert/distilbert-base-uncased`.

    Parameters
    ----------
    texts
        What to read; none for rows of the train split.
    base
        The base model's tokenizer, also where a run has left one.
    from_revision
        Begin with the params of a commit, branch, tag or experiment (such as HEAD), not the checkout's.
    params_file
        A whole or partial params file, laid over params.yaml first.
    as_json
        Print JSON.
    """
    from flows.engine import workspace

    checkout = workspace.root()
    with chdir(checkout):
        whole = lay_over(written_in(Path(PARAMS)), *given(from_revision, params_file, params, checkout))
        is_given = any(one is not None for one in (from_revision, params_file, params))
        which, processor = _loaded(whole, checkout, is_base=base or is_given)
        shown = [_shown(processor, text) for text in texts]
        told = _told(processor, which, shown or [_shown(processor, text) for text in _rows(whole)])
    if as_json:
        print(json.dumps({**told, "texts": shown}, indent=2, ensure_ascii=False))
    else:
        _print(told, shown)
    return OK


def _loaded(params: Params, checkout: Path, *, is_base: bool) -> tuple[str, Any]:
    """Return whose tokenizer it is, and the tokenizer."""
    from flows.engine.prepare import resolved

    # transformers needs seconds to import torch, and no tokenizer does
    sys.modules.setdefault("torch", None)  # type: ignore[arg-type]
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    if not params.own.has_tokenizer:
        raise InputError(f"problem {params.problem} reads no text, so it has no tokenizer to show")
    problem, kept = problems.load(params.problem, params.own), Paths().tokens / "tokenizer"
    if kept.is_dir() and not is_base:
        which, processor = "the run's", problem.load_processor(kept)
    elif params.tokenize.train.kind:
        learns = f"tokenize.train.kind {params.tokenize.train.kind} is learned by the run"
        raise InputError(f"{learns}; `retrain run` first, then `retrain tokenizer` without params")
    else:
        import polars as pl

        model = resolved(params, checkout, say).model_copy(update={"from_scratch": {}})
        which, processor = (
            f"{model.name}'s",
            problem.processor(base_models.fetch(model), pl.LazyFrame(), params.tokenize),
        )
    processor = tokenizer_of(processor)
    if not hasattr(processor, "convert_ids_to_tokens"):
        kind = type(processor).__name__
        raise InputError(f"problem {params.problem} reads with a {kind}, which is no tokenizer")
    return which, processor


def _rows(params: Params) -> list[str]:
    """Return the texts of the first rows of train; none before a split is there."""
    import polars as pl

    file = Paths().split("train")
    if not file.exists():
        return []
    rows = pl.read_parquet(file, n_rows=ROWS)
    columns = problems.load(params.problem, params.own).columns
    names = [name for name in inputs(columns, rows) if columns[name].kind == "text"]
    return [*chain.from_iterable(rows[name] for name in names)]


def _shown(processor: Any, text: str) -> dict[str, Any]:
    """Return a text's tokens, cut where the model's inputs are."""
    words = {"return_offsets_mapping": True} if processor.is_fast else {}
    given_ = processor(text, truncation=True, return_special_tokens_mask=True, **words)
    ids = given_["input_ids"]
    tokens = []
    for place, (number, token) in enumerate(zip(ids, processor.convert_ids_to_tokens(ids), strict=True)):
        one: dict[str, Any] = {
            "token": str(token),
            "id": number,
            "special": bool(given_["special_tokens_mask"][place]),
        }
        if processor.is_fast:
            start, end = given_["offset_mapping"][place]
            one |= {"start": start, "end": end}
        tokens.append(one)
    return {"text": text, "tokens": tokens}


def _told(processor: Any, which: str, read: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return what a tokenizer is, and which share of the tokens of texts it does not know."""
    ids = [token["id"] for token in chain.from_iterable(text["tokens"] for text in read)]
    unknown = processor.unk_token_id
    knows_all = unknown is None or unknown in (processor.bos_token_id, processor.eos_token_id)
    special = {name: str(token) for name, token in sorted(processor.special_tokens_map.items())}
    numbers = {name: processor.convert_tokens_to_ids(token) for name, token in special.items()}
    return {
        "tokenizer": which,
        "class": type(processor).__name__,
        "fast": bool(processor.is_fast),
        "vocabulary": len(processor),
        "max_length": int(processor.model_max_length),
        "special_tokens": {name: {"token": token, "id": numbers[name]} for name, token in special.items()},
        "texts_read": len(read),
        "tokens_read": len(ids),
        "unknown_share": 0.0 if knows_all or not ids else ids.count(unknown) / len(ids),
    }


def _print(told: dict[str, Any], shown: Sequence[dict[str, Any]]) -> None:
    kind = "fast" if told["fast"] else "slow: no offsets"
    sizes = f"{told['vocabulary']:,} tokens, rows cut at {told['max_length']:,}"
    print(f"{told['tokenizer']} tokenizer: {told['class']} ({kind}), {sizes}")
    special = []
    for name, its in told["special_tokens"].items():
        special.append(f"{name.removesuffix('_token')} {its['token']} {its['id']}")
    print(f"special: {', '.join(special)}")
    if told["texts_read"]:
        each = told["tokens_read"] / told["texts_read"]
        unknown = f"{told['unknown_share']:.1%} of them unknown"
        print(f"{told['texts_read']:,} texts, {each:.1f} tokens each, {unknown}")
    else:
        say("no text was given, and there is no train split yet to read")
    for text in shown:
        print(f"\n{readable(text['text'])}")
        for token in text["tokens"]:
            where = f"{token['start']}-{token['end']}" if "start" in token else ""
            mark = "special" if token["special"] else ""
            print(f"  {token['id']:>7}  {where:>9}  {token['token']!r}  {mark}".rstrip())
