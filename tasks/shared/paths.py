"""Where the stages' outputs are: the same places below any folder."""

from pathlib import Path


class Paths:
    """The outputs of all stages below a folder; without one, below the current folder, where a stage runs."""

    def __init__(self, root: Path | None = None) -> None:
        root = root or Path()
        self.ingested = root / "data/ingested"
        # files of pictures and sounds by the SHA-256 of their content; empty where rows have none
        self.media = root / "data/media"
        self.splits = root / "data/splits"
        self.tokens = root / "data/tokens"
        self.checkpoint = root / "models/checkpoint"
        self.package = root / "models/package"
        self.curves = root / "plots/train/curves"
        self.plots = root / "plots/evaluate"
        # what rows add to the metrics of each baseline, and of candidate and champion
        self.baselines = self.plots / "baselines"
        self.judged = root / "plots/judge"
        self.metrics = root / "metrics"

    def metric(self, stage: str) -> Path:
        """Return the file of what a stage measured."""
        return self.metrics / f"{stage}.json"

    def split(self, name: str) -> Path:
        """Return the table of a split."""
        return self.splits / f"{name}.parquet"
