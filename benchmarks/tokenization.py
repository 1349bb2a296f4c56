"""Rows per second from texts to model inputs: `problem.encode`, what it builds on and what users call.

`problem.encode` is called as our tokenize stage calls it.
`encode_batch_fast` alone is the Rust tokenizer giving back opaque encodings: the ceiling.
`AutoTokenizer` gives Python lists, and `datasets.map(batched=True)` Arrow, as the Hugging Face examples do.
All cut to the same length and run in turn in this process; those without a batch size of their own take 1000
rows at a time, the size they were found fastest with, and drop each result at once, as we do.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl

from benchmarks.measure import ROOT, Options, Table, compare, in_turn
from tasks import problems
from tasks.shared import base_models
from tasks.shared.params_file import load

REPEAT = 5
BATCH = 1000
OURS, CEILING, CALL, MAP = (
    "ours, to Arrow",
    "encode_batch_fast alone",
    "AutoTokenizer(texts)",
    "datasets.map(batched)",
)


def measure(options: Options) -> list[Table]:
    """Return the rates beside each other."""
    from datasets import Dataset, disable_progress_bars

    disable_progress_bars()
    params = load(ROOT / "params.yaml")
    problem = problems.load(params.problem)
    base = base_models.fetch(params.model)
    table = texts(options.data, options.rows)
    rows = table["text"].to_list()
    dataset = Dataset.from_dict({"text": rows})
    targets = problem.learn_targets(table)
    ours, plain, mapped = (problem.processor(base, table.lazy(), params.tokenize) for _ in range(3))
    alone = problem.processor(base, table.lazy(), params.tokenize).backend_tokenizer
    alone.no_padding()
    alone.enable_truncation(params.tokenize.max_length)

    def encode() -> None:
        for _ in problem.encode(ours, table, targets, params.tokenize):
            pass

    def cut(batch: dict[str, list[str]]) -> Any:
        return mapped(batch["text"], truncation=True, max_length=params.tokenize.max_length)

    def in_batches(call: Callable[[list[str]], Any]) -> None:
        for start in range(0, len(rows), BATCH):
            call(rows[start : start + BATCH])

    programs: dict[str, Callable[[], Any]] = {
        OURS: encode,
        CEILING: lambda: in_batches(alone.encode_batch_fast),
        CALL: lambda: in_batches(
            lambda some: plain(some, truncation=True, max_length=params.tokenize.max_length)
        ),
        MAP: lambda: dataset.map(cut, batched=True, keep_in_memory=True, load_from_cache_file=False),
    }
    measured = in_turn(
        {name: _rate(program, len(rows)) for name, program in programs.items()}, options.repeat or REPEAT
    )
    source = options.data.name if options.data else "the embedded tickets"
    return [
        compare(
            f"Tokenizing {len(rows):,} rows, {source} repeated",
            "rows/s",
            measured,
            OURS,
            {CEILING: ">= 0.60"},
        )
    ]


def texts(data: Path | None, rows: int) -> pl.DataFrame:
    """Return a table of `rows` texts and their labels: those of the data, again and again."""
    file, label = (data / "train.csv", "category") if data else (ROOT / "data/raw/tickets.csv", "label")
    once = pl.read_csv(file, columns=["text", label]).rename({label: "label"})
    return pl.concat([once] * (rows // once.height + 1)).head(rows)


def _rate(program: Callable[[], Any], rows: int) -> Callable[[], float]:
    def run() -> float:
        began = time.perf_counter()
        program()
        return rows / (time.perf_counter() - began)

    return run
