"""One label per sound: which word is said, who says it, what makes the noise.

Served by `serve.py`: the pipeline of transformers needs ffmpeg to read a file.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from tasks.problems import Targets
from tasks.problems.audio_classification.params import Own
from tasks.problems.common.classification import Classification, numbers
from tasks.problems.common.sounds import extractors
from tasks.problems.common.sounds.problem import SoundProblem
from tasks.problems.common.sounds.serve import Processor
from tasks.shared.columns import Column

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.figure import Figure
    from transformers import PreTrainedModel


class AudioClassification(SoundProblem, Classification):
    """Rows are (audio, label); audio is a file."""

    section = Own
    task = "audio-classification"
    head = "AutoModelForAudioClassification"
    columns: Mapping[str, Column] = {
        "audio": Column("audio", "input"),
        "label": Column("category", "target"),
    }
    examples = ({"audio": "recordings/7_jackson_0.wav", "label": "7"},)

    def labels(
        self, processor: Processor, rows: pl.DataFrame, targets: Targets
    ) -> tuple[list[int], list[int], list[int]]:
        """Return the number of each row's label; all are known, and none is cut."""
        none = [0] * rows.height
        return numbers(rows["label"], targets).tolist(), none, none

    def model(
        self, base: Path, processor: Processor, targets: Targets
    ) -> "tuple[PreTrainedModel, list[str]]":
        """Load a sound classifier in fp32; what its folder lacks is drawn from the current torch seed."""
        from tasks.problems.common import pretrained

        how = extractors.settings(base, processor.extractor)
        return pretrained.classifier(base, None, targets["labels"], head=self.head, **how)

    def baselines(self, train: pl.DataFrame, test: pl.DataFrame, targets: Targets) -> dict[str, pl.DataFrame]:
        """Return the most frequent label, and what a linear model of loudness by pitch and time says."""
        from tasks.problems.common import linear
        from tasks.problems.common.sounds import spectra

        def bands(name: str) -> "np.ndarray":
            return spectra.summary(self.media / name, self.params.max_seconds)

        said = linear.predicted(train, test, "audio", bands)
        return {**super().baselines(train, test, targets), "log_bands_linear": said}

    def draw(self, predictions: pl.DataFrame, rows: pl.DataFrame, targets: Targets) -> "dict[str, Figure]":
        """Draw what classification draws, some spectrograms, and those of the surest mistakes."""
        drawn = self.galleries(rows.select("audio", "label"), predictions, "audio", self.picture)
        return {**drawn, **super().draw(predictions, rows, targets)}


PROBLEM = AudioClassification
