"""Sounds as a model's inputs: features, batches, masks."""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from tasks.problems.common.kept import there
from tasks.problems.common.sounds import extractors, serve
from tasks.problems.common.sounds.params import Masks

if TYPE_CHECKING:
    import pyarrow as pa

# sounds whose features are handed on at once; so many more are being made
CHUNK = 32


def encoded(
    extractor: Any, names: pl.Series, folder: Path
) -> Iterator["tuple[dict[str, pa.Array], Sequence[bool]]"]:
    """Yield `features` and `length` of each sound, some at a time; and of each whether it was cut.

    names: of files below `folder`.
    features: (frames, bins) float32 in a row, or a waveform. length: in frames.
    """
    import pyarrow as pa

    def features(name: str) -> tuple[np.ndarray, int, bool]:
        file = there(folder / name)
        sound, is_cut = serve.read(str(file), extractor.sampling_rate, extractor.max_seconds)
        made = serve.features(extractor, sound)
        return made.ravel(), _length(extractor, made), is_cut

    def gathered(
        some: "list[Future[tuple[np.ndarray, int, bool]]]",
    ) -> tuple[dict[str, pa.Array], Sequence[bool]]:
        made, lengths, cut = zip(*(one.result() for one in some), strict=True)
        return {"features": _binary(made), "length": pa.array(lengths, pa.int32())}, cut

    with ThreadPoolExecutor() as threads:
        before: list[Future[tuple[np.ndarray, int, bool]]] = []
        for some in names.to_frame("name").iter_slices(CHUNK):
            # no thread waits while those before are handed on
            begun = [threads.submit(features, name) for name in some["name"]]
            if before:
                yield gathered(before)
            before = begun
        if before:
            yield gathered(before)


def _binary(some: Sequence[np.ndarray]) -> "pa.Array":
    """Return arrays as rows of bytes, copied once: `pa.array` would want a `bytes` of each first."""
    import pyarrow as pa

    ends = np.cumsum([0, *(one.nbytes for one in some)], dtype=np.int64)
    buffers = [None, pa.py_buffer(ends), pa.py_buffer(np.concatenate(some))]
    return pa.Array.from_buffers(pa.large_binary(), len(some), buffers)


def _length(extractor: Any, features: np.ndarray) -> int:
    """Return how many frames the model is given, with those that it is always given."""
    if (fixed := serve.frames(extractor)) is not None:
        return fixed
    if features.shape[1] > 1:
        return len(features)
    seconds = len(features) / extractor.sampling_rate
    return int(np.ceil((seconds if extractor.return_attention_mask else extractor.max_seconds) / serve.FRAME))


def array(extractor: Any, row: Mapping[str, Any]) -> np.ndarray:
    """Return an encoded sound: (frames, bins) float32, or (samples, 1)."""
    if isinstance(row["features"], np.ndarray):
        found: np.ndarray = row["features"]
        return found
    return np.frombuffer(row["features"], np.float32).reshape(-1, extractors.width(extractor))


@dataclass
class Collator:
    """Makes a batch of encoded sounds, padded as the model reads them, and their labels.

    labels: numbers, or of each row a list of numbers, filled up by what no loss looks at.
    """

    extractor: Any

    def __call__(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Return tensors."""
        import torch
        from torch.nn.utils.rnn import pad_sequence

        if "encoder_outputs" in rows[0]:
            made = {"encoder_outputs": (torch.stack([row["encoder_outputs"] for row in rows]),)}
        else:
            made = serve.batch(self.extractor, [array(self.extractor, row) for row in rows])
        if "labels" not in rows[0]:
            return made
        labels = [torch.as_tensor(row["labels"], dtype=torch.int64) for row in rows]
        if labels[0].ndim == 0:
            return {**made, "labels": torch.stack(labels)}
        return {**made, "labels": pad_sequence(labels, batch_first=True, padding_value=-100)}


def masked(extractor: Any, row: Mapping[str, Any], masks: Masks, draw: np.random.Generator) -> np.ndarray:
    """Return a sound's features without a stretch of time and a band of frequencies (Park et al. 2019).

    Each is up to a share of all, and is filled with the mean.
    """
    changed = array(extractor, row).copy()
    filler = changed.mean()
    across = int(draw.integers(int(len(changed) * masks.time) + 1))
    start = int(draw.integers(len(changed) - across + 1))
    changed[start : start + across] = filler
    if changed.shape[1] > 1:
        # a frame may hold several windows, each with all frequencies
        bins: int = extractor.num_mel_bins if hasattr(extractor, "num_mel_bins") else changed.shape[1]
        band = int(draw.integers(int(bins * masks.frequency) + 1))
        low = int(draw.integers(bins - band + 1))
        changed.reshape(len(changed), -1, bins)[:, :, low : low + band] = filler
    return changed
