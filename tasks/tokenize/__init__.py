"""Turn every split into model inputs: one Arrow file each, unpadded, in constant memory."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa

from tasks.problems import Encoded, Problem, Processor, Targets, tokenizer_of
from tasks.problems.common import counts
from tasks.problems.common.encoding import encoded
from tasks.shared import base_models, columns
from tasks.shared.engine import LOCAL, Engine
from tasks.shared.files import write_json
from tasks.shared.params import Model, Tokenize
from tasks.shared.params.split import SPLITS
from tasks.shared.paths import Paths
from tasks.shared.progress import Progress
from tasks.shared.stage import warn

# a share of unknown tokens that a model with a vocabulary for these texts stays below
FEW = 0.03


def tokenize(params: Tokenize, model: Model, problem: Problem, paths: Paths, engine: Engine = LOCAL) -> None:
    """Write train.arrow, validation.arrow and test.arrow, targets.json and the tokenizer or other processor.

    Arrow's stream format, which `datasets` maps into memory: the problem's inputs (text: `input_ids`
    list<int32>), `length` int32 and `labels`. targets.json: what the problem has learned of the train split's
    targets.
    """
    paths.tokens.mkdir(parents=True, exist_ok=True)
    problem.media = paths.media
    train = pl.scan_parquet(paths.split("train"))
    processor = problem.processor(base_models.fetch(model), train, params)
    processor.save_pretrained(paths.tokens / "tokenizer")
    targets = problem.learn_targets(train.select(columns.targets(problem.columns)).collect())
    write_json(paths.tokens / "targets.json", targets)
    encode = partial(_encode, problem, processor, targets, params)
    first = train.head(1).collect()
    (text,) = columns.shown(first, problem.columns)
    numbers = _described(processor, text, next(encode(first)).inputs)
    encoder = partial(encoded, encode=encode, problem=problem, engine=engine)
    for name in SPLITS:
        numbers[name] = _write(
            paths.tokens / f"{name}.arrow", name, paths.split(name), encoder, problem.units
        )
        cut = f"{numbers[name]['truncated_share']:.1%} of rows cut"
        print(f"{name}: {numbers[name]['rows']} rows, {numbers[name][problem.units]} {problem.units}, {cut}")
    write_json(paths.metric("tokenize"), {**numbers, **warn(_warnings(params, processor, numbers))})


def _encode(
    problem: Problem, processor: Processor, targets: Targets, params: Tokenize, rows: pl.DataFrame
) -> Iterator[Encoded]:
    return problem.encode(processor, rows, targets, params)


def _described(processor: Processor, text: str, first: pa.RecordBatch) -> dict[str, Any]:
    """Return what a processor is, and one worked example: a row, and what the model will see of it."""
    numbers: dict[str, Any] = {"tokenizer": type(processor).__name__, "example": {"text": text}}
    if "input_ids" in first.schema.names:
        ids = first["input_ids"][0].as_py()
        words = tokenizer_of(processor)
        numbers["vocabulary"] = len(words)
        special = sorted(words.special_tokens_map.items())
        numbers["special_tokens"] = {name: str(token) for name, token in special}
        numbers["example"] |= {"tokens": words.convert_ids_to_tokens(ids), "input_ids": ids}
    return numbers


def _warnings(params: Tokenize, processor: Processor, numbers: dict[str, Any]) -> list[str]:
    """Return what a user would want to know before he trains for hours."""
    said = []
    max_length = getattr(tokenizer_of(processor), "model_max_length", params.max_length)
    if max_length < params.max_length:
        instead = f"rows are cut at {max_length} tokens, not at tokenize.max_length {params.max_length}"
        said.append(f"{instead}: the model and its tokenizer read no more")
    lost = sum(numbers[name].get("lost", 0) for name in SPLITS)
    if lost:
        said.append(
            f"{lost} words or spans are cut off, or no token of the tokenizer stands for them: "
            "they are predicted as nothing"
        )
    unknown = max(numbers[name]["unknown_share"] for name in SPLITS)
    if unknown > FEW:
        tokens = f"{unknown:.1%} of the tokens are unknown to the base model's tokenizer"
        said.append(f"{tokens}, so it cannot see them")
    return said


def _write(
    file: Path, name: str, source: Path, encoder: Callable[[pl.LazyFrame], Iterator[Encoded]], units: str
) -> dict[str, Any]:
    """Encode one split batch by batch; return its rows, tokens, lengths, and the shares cut and unknown.

    units: what lengths count.
    """
    total = pl.scan_parquet(source).select(pl.len()).collect().item()
    progress = Progress(f"tokenize {name}", total, unit="row")
    batches = encoder(pl.scan_parquet(source))
    counted = counts.write(file, batches, lambda so_far: progress.update(min(so_far.inputs, total)))
    progress.close()
    return {
        "rows": total,
        units: sum(int(lengths.sum()) for lengths in counted.lengths),
        "truncated_share": counted.truncated / total,
        "unknown_share": counted.unknown_share,
        **({"lost": counted.lost} if counted.lost else {}),
        "length": counted.length(),
    }
