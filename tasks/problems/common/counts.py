"""Model inputs on their way into a file, and what is counted of them."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from tasks.problems import Encoded
from tasks.shared.columns import PERCENTILES


class Counts:
    """How many model inputs there are so far, how long, and what was cut, not known or lost of their rows."""

    def __init__(self) -> None:
        self.lengths: list[np.ndarray] = []
        self.truncated = self.unknown = self.lost = self.inputs = 0
        # tokens among which the unknown ones are
        self.tokens = 0

    def add(self, one: Encoded) -> None:
        """Count some more."""
        self.lengths.append(one.inputs["length"].to_numpy())
        self.truncated += one.truncated
        self.unknown += one.unknown
        self.lost += one.lost
        self.inputs += one.inputs.num_rows
        self.tokens += int(self.lengths[-1].sum()) if one.tokens is None else one.tokens

    @property
    def unknown_share(self) -> float:
        """The share of tokens that the vocabulary does not know."""
        return self.unknown / max(self.tokens, 1)

    def length(self) -> dict[str, int]:
        """Return the lengths that some percent of the inputs do not exceed, such as p50."""
        every = np.concatenate(self.lengths)
        return {f"p{q}": int(np.percentile(every, q, method="nearest")) for q in PERCENTILES}


def write(file: Path, batches: Iterable[Encoded], told: Callable[[Counts], Any] = lambda _: None) -> Counts:
    """Write model inputs batch by batch in Arrow's stream format; told: hears what is counted so far."""
    counts = Counts()
    writer: pa.RecordBatchStreamWriter | None = None
    for one in batches:
        writer = writer or pa.ipc.new_stream(str(file), one.inputs.schema)
        writer.write_batch(one.inputs)
        counts.add(one)
        told(counts)
    if writer is not None:
        writer.close()
    return counts
