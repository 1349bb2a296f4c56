"""One label per picture: what is on it, how it is made, whether it is one of ours.

Served by the `image-classification` pipeline.
"""

from collections.abc import Iterator, Mapping
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from tasks.problems import Encoded, Loss, Targets
from tasks.problems.common import pixels
from tasks.problems.common.classification import Classification, numbers
from tasks.problems.common.pictures import PictureProblem
from tasks.problems.image_classification import processors
from tasks.problems.image_classification.params import Own
from tasks.shared.columns import Column
from tasks.shared.errors import InputError
from tasks.shared.params import Tokenize, Train

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from transformers import PreTrainedModel

# how architectures are called that have a head for what one answers
TEACHER = "WithTeacher"


class ImageClassification(PictureProblem, Classification):
    """Rows are (image, label); an image is a file."""

    section = Own
    task = "image-classification"
    head = "AutoModelForImageClassification"
    served_with: Mapping[str, Any] = {"top_k": 1}
    columns: Mapping[str, Column] = {
        "image": Column("image", "input"),
        "label": Column("category", "target"),
    }
    examples = ({"image": "paper/paper70.jpg", "label": "paper"},)
    carried = ("image", "pixels", "mixed")
    units = "patches"

    def __init__(self, params: Any = None) -> None:
        """Know whether train pictures are to be changed."""
        super().__init__(params)
        self.augments = self.params.augment != type(self.params.augment)()

    def processor(self, base: Path, train: pl.LazyFrame, params: Tokenize) -> Any:
        """Return the base model's image processor, or one for a model from scratch."""
        return processors.processor(base, self.params.image_size)

    def encode(
        self, processor: Any, rows: pl.DataFrame, targets: Targets, params: Tokenize
    ) -> Iterator[Encoded]:
        """Yield pictures in order, and the number of each one's label, int64."""
        import pyarrow as pa

        labels = numbers(rows["label"], targets)
        done = 0
        for columns, count in pixels.encoded(processor, rows["image"], self.media):
            columns["labels"] = pa.array(labels[done : done + count], pa.int64())
            done += count
            yield Encoded(pa.RecordBatch.from_pydict(columns))

    def model(self, base: Path, processor: Any, targets: Targets) -> "tuple[PreTrainedModel, list[str]]":
        """Load an image classifier in fp32; what its folder lacks is drawn from the current torch seed.

        Raises InputError for one that cannot be trained.
        """
        from tasks.problems.common import pretrained

        its, how = pretrained.config(base), dict[str, Any]()
        if pretrained.is_from_scratch(base) and hasattr(its, "image_size"):
            _, *sides = pixels.shape(processor)
            how["image_size"] = sides[0] if len(set(sides)) == 1 else sides
        if any(name.endswith(TEACHER) for name in its.architectures or ()):
            # a second head that learns from a teacher, and no labels: DeiT's and LeViT's have one
            how["architectures"] = [name.removesuffix(TEACHER) for name in its.architectures]
        model, said = pretrained.classifier(base, None, targets["labels"], head=self.head, **how)
        if "labels" not in signature(model.forward).parameters:
            what = f"a {type(model).__name__} takes no labels, so it cannot be trained"
            raise InputError(f"model.name: {what}; name another model")
        return model, said

    def loss(self, train: pl.DataFrame, targets: Targets, params: Train) -> Loss | None:
        """Return that of both labels of mixed pictures; else as classification does."""
        from tasks.problems.common import losses

        if not self.params.augment.mixup:
            return super().loss(train, targets, params)
        counts = np.bincount(numbers(train["label"], targets), minlength=len(targets["labels"]))
        is_balanced = params.class_weights == "balanced"
        weights = losses.balanced(counts) if is_balanced else [1.0] * len(counts)
        return losses.Mixed(losses.CrossEntropy(weights, params.label_smoothing_factor))

    def collator(self, processor: Any) -> pixels.Collator:
        """Read, rescale and normalize pictures."""
        return pixels.Collator(processor, self.media)

    def augment(self, row: dict[str, Any], processor: Any, draw: "np.random.Generator") -> dict[str, Any]:
        """Return a train picture as one epoch sees it."""
        from tasks.problems.image_classification.augmentation import augment

        params = self.params.augment
        changed = augment(pixels.array(processor, row, self.media), params, draw)
        mixed = {"mixed": float(draw.beta(params.mixup, params.mixup))} if params.mixup else {}
        return {**row, "pixels": changed, **mixed}

    def baselines(self, train: pl.DataFrame, test: pl.DataFrame, targets: Targets) -> dict[str, pl.DataFrame]:
        """Return the most frequent label, and what a linear model of colours and coarse shapes says."""
        from tasks.problems.common import linear
        from tasks.problems.image_classification.baseline import colours

        said = linear.predicted(train, test, "image", lambda name: colours(self.media / name))
        return {**super().baselines(train, test, targets), "colours_linear": said}

    def draw(self, predictions: pl.DataFrame, rows: pl.DataFrame, targets: Targets) -> "dict[str, Figure]":
        """Draw what classification draws, some pictures, and the surest mistakes."""
        drawn = self.galleries(rows.select("image", "label"), predictions, "image", self.picture)
        return {**drawn, **super().draw(predictions, rows, targets)}


PROBLEM = ImageClassification
