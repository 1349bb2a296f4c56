"""What problems share whose rows have a sound as their one input, `audio`."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from tasks.problems import Encoded, Media, Problem, Targets
from tasks.problems.common.sounds import extractors, features, reading
from tasks.problems.common.sounds import serve as served
from tasks.shared.params import Ingest, Tokenize

if TYPE_CHECKING:
    import numpy as np


class SoundProblem(Problem):
    """A problem whose own params are `Sounds`; its processor is that of serve.py."""

    served_with: Mapping[str, Any] = {}
    carried = ("features",)
    encoder_reads = "features"
    units = "frames"
    media_endings = reading.ENDINGS
    serve = Path(served.__file__)

    def __init__(self, params: Any = None) -> None:
        """Know whether anything is to be taken out of train sounds."""
        super().__init__(params)
        self.augments = self.params.masks != type(self.params.masks)()

    def keep(self, content: bytes, params: Ingest) -> Media:
        """Return the file as it is."""
        return reading.keep(content, params)

    def processor(self, base: Path, train: pl.LazyFrame, params: Tokenize) -> served.Processor:
        """Return the base model's feature extractor, or one for a model from scratch."""
        return served.Processor(extractors.extractor(base, self.params.max_seconds))

    def load_processor(self, folder: Path) -> served.Processor:
        """Load it as it was saved."""
        from tasks.problems.common import pretrained

        return served.Processor(pretrained.feature_extractor(folder))

    def encode(
        self, processor: served.Processor, rows: pl.DataFrame, targets: Targets, params: Tokenize
    ) -> Iterator[Encoded]:
        """Yield sounds in order, and the labels of each one, int64 or list<int64>."""
        import pyarrow as pa

        labels, unknown, cut_labels = self.labels(processor, rows, targets)
        done = 0
        for columns, cut in features.encoded(processor.extractor, rows["audio"], self.media):
            its = slice(done, done + len(columns["length"]))
            columns["labels"] = pa.array(labels[its])
            # a label is no token
            tokens = sum(len(row) for row in labels[its] if isinstance(row, list)) or None
            inputs = pa.RecordBatch.from_pydict(columns)
            truncated = sum(bool(pair[0] or pair[1]) for pair in zip(cut, cut_labels[its], strict=True))
            yield Encoded(inputs, truncated, sum(unknown[its]), tokens)
            done = its.stop

    def labels(
        self, processor: served.Processor, rows: pl.DataFrame, targets: Targets
    ) -> tuple[Sequence[Any], Sequence[int], Sequence[int]]:
        """Return what the model learns of each row, how many tokens are not known, and 1 where it was cut."""
        raise NotImplementedError

    def collator(self, processor: served.Processor) -> features.Collator:
        """Pad features and labels."""
        return features.Collator(processor.extractor)

    def augment(
        self, row: dict[str, Any], processor: served.Processor, draw: "np.random.Generator"
    ) -> dict[str, Any]:
        """Return a train sound as one epoch hears it."""
        return {**row, "features": features.masked(processor.extractor, row, self.params.masks, draw)}

    def asked(self, folder: Path, rows: pl.DataFrame, predicted: pl.DataFrame) -> list[Any]:
        """Return each sound's file."""
        return [str(self.media / name) for name in rows["audio"]]

    def picture(self, name: str) -> "np.ndarray":
        """Return the spectrogram of a sound's file, as figures show it."""
        from tasks.problems.common.sounds import spectra

        return spectra.picture(self.media / name, self.params.max_seconds)
