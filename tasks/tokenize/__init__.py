"""Turn every split into model inputs: one Arrow file each, unpadded, in constant memory."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa

from tasks import problems as problems
from tasks.problems import Encoded, Problem
from tasks.shared import base_models
from tasks.shared.files import write_json
from tasks.shared.params import SPLITS, Model, Tokenize
from tasks.shared.progress import Progress
from tasks.shared.stage import stage as stage
from tasks.shared.stage import warn

FEW = 0.03  # a share of unknown tokens that a model with a vocabulary for these texts stays below


def tokenize(params: Tokenize, model: Model, problem: Problem, splits: Path, out: Path, metrics: Path) -> None:
    """Write train.arrow, validation.arrow and test.arrow (stream format, memory-mapped by `datasets`), labels.json and the tokenizer.

    Each row has the problem's inputs (text: `input_ids` list<int32>), `length` int32 and `labels` int64, the index into labels.json.
    """
    out.mkdir(parents=True, exist_ok=True)
    processor = problem.processor(base_models.fetch(model), params)
    processor.save_pretrained(out / "tokenizer")
    labels = label_names(splits)
    write_json(out / "labels.json", {"labels": labels})
    index = {label: position for position, label in enumerate(labels)}
    numbers: dict[str, Any] = {
        "tokenizer": type(processor).__name__,
        "vocabulary": len(processor),
        "special_tokens": {name: str(token) for name, token in sorted(processor.special_tokens_map.items())},
        "example": problem.example(processor, pl.read_parquet(splits / "train.parquet", n_rows=1), params),
    }
    for name in SPLITS:
        numbers[name] = _write(out / f"{name}.arrow", name, splits / f"{name}.parquet", index, lambda rows: problem.encode(processor, rows, params))
        print(f"{name}: {numbers[name]['rows']} rows, {numbers[name]['tokens']} tokens, {numbers[name]['truncated_share']:.1%} of rows cut")
    write_json(metrics, {**numbers, **warn(_warnings(params, processor.model_max_length, numbers))})


def _warnings(params: Tokenize, max_length: int, numbers: dict[str, Any]) -> list[str]:
    """Return what a user would want to know before he trains for hours."""
    said = []
    if max_length < params.max_length:
        instead = f"rows are cut at {max_length} tokens, not at tokenize.max_length {params.max_length}"
        said.append(f"{instead}: the model and its tokenizer read no more")
    unknown = max(numbers[name]["unknown_share"] for name in SPLITS)
    if unknown > FEW:
        said.append(f"{unknown:.1%} of the tokens are unknown to the base model's tokenizer, so it cannot see them")
    return said


def label_names(splits: Path) -> list[str]:
    """Return the labels of the train split in a fixed order: by number when all are numbers, else by spelling."""
    names: list[str] = pl.read_parquet(splits / "train.parquet", columns=["label"])["label"].unique().to_list()
    with suppress(ValueError):
        return sorted(names, key=lambda name: (int(name), name))
    return sorted(names)


def _write(file: Path, name: str, source: Path, index: dict[str, int], encode: Any) -> dict[str, Any]:
    """Tokenize one split batch by batch and return what to watch: rows, tokens, length percentiles, shares cut and unknown."""
    progress = Progress(f"tokenize {name}", total := pl.scan_parquet(source).select(pl.len()).collect().item(), unit="row")
    lengths: list[np.ndarray] = []
    truncated = unknown = done = 0
    writer: pa.RecordBatchStreamWriter | None = None
    for rows, encoded in _batches(source, total, encode):
        labels = pa.array([index[label] for label in rows["label"]], pa.int64())
        batch = encoded.inputs.append_column("labels", labels)
        writer = writer or pa.ipc.new_stream(str(file), batch.schema)
        writer.write_batch(batch)
        lengths.append(encoded.inputs["length"].to_numpy())
        truncated += encoded.truncated
        unknown += encoded.unknown
        done += rows.height
        progress.update(done)
    if writer is not None:
        writer.close()
    progress.close()
    every = np.concatenate(lengths)
    tokens = int(every.sum())
    return {
        "rows": total,
        "tokens": tokens,
        "truncated_share": truncated / total,
        "unknown_share": unknown / tokens,
        "length": {f"p{q}": int(np.percentile(every, q, method="nearest")) for q in (5, 50, 95, 99, 100)},
    }


def _batches(source: Path, total: int, encode: Any) -> Iterator[tuple[pl.DataFrame, Encoded]]:
    """Yield rows and their encodings, a bounded number at a time."""
    step = 65536
    for start in range(0, total, step):
        rows = pl.scan_parquet(source).slice(start, step).collect()
        offset = 0
        for encoded in encode(rows):
            yield rows.slice(offset, encoded.inputs.num_rows), encoded
            offset += encoded.inputs.num_rows
