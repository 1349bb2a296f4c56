"""A training as its parts see it: what `train` was given, and what tokenize has left."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Event

from datasets import Dataset
from transformers import TrainerCallback

from tasks.problems import Problem, Processor, Targets
from tasks.shared.files import read_json
from tasks.shared.params import Train
from tasks.shared.paths import Paths
from tasks.train.together import Together


@dataclass(frozen=True)
class Work:
    """A training: what `train` was given, and the processes that do it together."""

    params: Train
    base: Path
    problem: Problem
    paths: Paths
    resume: Path
    together: Together
    callbacks: Sequence[TrainerCallback]
    ends: Event | None


@dataclass(frozen=True)
class Tokens:
    """What tokenize has left; `data` by split."""

    processor: Processor
    targets: Targets
    data: dict[str, Dataset]


def read(work: Work) -> Tokens:
    """Return what tokenize has left."""
    folder = work.paths.tokens
    work.problem.media = work.paths.media
    processor = work.problem.load_processor(folder / "tokenizer")
    data = {split: Dataset.from_file(str(folder / f"{split}.arrow")) for split in ("train", "validation")}
    return Tokens(processor, read_json(folder / "targets.json"), data)
