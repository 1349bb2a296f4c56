"""How long two packages take for the same rows: one row at a time, in turn, on this machine."""

import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

import polars as pl
import pyarrow as pa

from tasks.judge.champion import as_made, with_known_labels
from tasks.problems.common import predicting
from tasks.shared import columns, devices
from tasks.shared.champions import Champion

# rows that are answered before the clock counts, and seconds after which no other row is begun
WARM, SECONDS = 3, 60.0


class Served:
    """A package as it is served: rows are made inputs by its own processor, and answered in fp32."""

    def __init__(self, kept: Champion, media: Path) -> None:
        self.problem, params = as_made(kept)
        self.problem.media = media
        self.tokenize = params.tokenize
        learned = pl.read_parquet(
            kept.splits / "train.parquet", columns=columns.targets(self.problem.columns)
        )
        self.targets = self.problem.learn_targets(learned)
        self.processor = self.problem.load_processor(kept.package)
        model = self.problem.model(kept.package, self.processor, self.targets)[0]
        self.model = model.to(devices.kind()).eval()

    def seconds(self, row: pl.DataFrame) -> float:
        """Return how long it takes from a row to its prediction, in seconds."""
        from datasets import Dataset

        began = time.perf_counter()
        known = with_known_labels(row, self.problem, self.targets)
        made = [one.inputs for one in self.problem.encode(self.processor, known, self.targets, self.tokenize)]
        data = Dataset(pa.Table.from_batches(made))
        predicting.predict(self.problem, self.model, self.processor, data, row, self.targets, len(data))
        return time.perf_counter() - began


def latency(packages: Sequence[Champion], rows: pl.DataFrame, media: Path) -> dict[str, Any]:
    """Return the median milliseconds per row of two packages, `candidate` and `other`, and how many `rows`.

    media: where the files of pictures and sounds lie. What else the machine does meanwhile slows both.
    """
    served = [Served(kept, media) for kept in packages]
    took: list[list[float]] = [[], []]
    end = time.monotonic() + SECONDS
    for number in range(-WARM, rows.height):
        row = rows.slice(abs(number) % rows.height, 1)
        found = [its.seconds(row) for its in served]
        if number >= 0:
            for seconds, its in zip(found, took, strict=True):
                its.append(seconds)
        if took[0] and time.monotonic() > end:
            break
    candidate, other = (round(1000 * median(its), 2) for its in took)
    return {"candidate": candidate, "other": other, "rows": len(took[0])}
